// A gRPC server on Go's net/http: cleartext HTTP/2, unary calls of coprocess.Dispatcher; replies with the message, reversed.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/grpc")
	if err != nil || len(body) < 5 || r.Header.Get("Te") != "trailers" || r.Header.Get("Content-Type") != "application/grpc" {
		w.Header().Set("Grpc-Status", "13")
		w.Header().Set("Grpc-Message", "not%20gRPC")
		return
	}
	message := body[5:]
	if int(binary.BigEndian.Uint32(body[1:5])) != len(message) {
		w.Header().Set("Grpc-Status", "13")
		return
	}
	for i, j := 0, len(message)-1; i < j; i, j = i+1, j-1 {
		message[i], message[j] = message[j], message[i]
	}
	w.Write(body)
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
}

func main() {
	listener, err := net.Listen(os.Args[1], os.Args[2])
	if err != nil {
		panic(err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: http.HandlerFunc(serve), Protocols: &protocols}
	if a, ok := listener.Addr().(*net.TCPAddr); ok {
		fmt.Println(a.Port)
	} else {
		fmt.Println(1)
	}
	server.Serve(listener)
}
