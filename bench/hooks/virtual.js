// The virtual endpoint of the benchmark: the answer that the upstream of the other rows gives.
function benchVirtual(request, session, config) {
  var answer = {Body: "Hello, world!", Headers: {"Content-Type": "text/plain"}, Code: 200};
  return TykJsResponse(answer, session.meta_data);
}
