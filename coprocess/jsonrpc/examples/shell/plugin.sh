#!/bin/sh
# A plugin of the JSON-RPC driver in the shell alone: every request of a pre hook gets a header. Newline framing.
#
# There is no JSON parser here. None is needed, because the gateway promises how it writes requests (PROTOCOL.md, "How requests
# are written"): the envelope is the same to the byte, and an empty `set_headers` is "set_headers":{} - text that cannot
# stand inside of a JSON string, where each quotation mark has a backslash in front of it.

front='{"jsonrpc":"2.0","id":'
empty='"set_headers":{}'

while IFS= read -r line; do
    case $line in
        "$front"*) ;;
        *) continue ;; # a notification, or a batch of them
    esac
    rest=${line#"$front"}
    id=${rest%%,*}
    object=${rest#*'"params":'}
    object=${object%\}}
    case $object in
        '{"hook_type":"pre",'*"$empty"*)
            object=${object%%"$empty"*}'"set_headers":{"X-Plugin":"shell"}'${object#*"$empty"}
            printf '%s%s,"result":%s}\n' "$front" "$id" "$object"
            ;;
        *)
            printf '%s%s,"error":{"code":-32601,"message":"this plugin has a pre hook only"}}\n' "$front" "$id"
            ;;
    esac
done
