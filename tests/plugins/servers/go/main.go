// A plugin server as users write them, on grpc-go and generated code.
//
//	server ADDRESS RECORD [--streams N] [--age MS] [--tls CERT,KEY,CA]
//
// ADDRESS is host:port or unix:PATH. RECORD gets one line for each call. The hook
// waits ends with its call. SIGTERM stops it gracefully: what is under way ends.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "preforge.test/plugin/coprocess"
)

const largest = 256 << 20

type server struct {
	pb.UnimplementedDispatcherServer
	lock   sync.Mutex
	record *os.File
}

func (s *server) note(what map[string]any) {
	line, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if _, err = s.record.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

func (s *server) Dispatch(ctx context.Context, o *pb.Object) (*pb.Object, error) {
	raw, err := proto.Marshal(o)
	if err != nil {
		return nil, err
	}
	from, _ := peer.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline).Milliseconds()
	s.note(map[string]any{"hook": o.HookName, "object": raw, "peer": from.Addr.String(), "left": left})
	if o.HookName == "waits" {
		<-ctx.Done()
		s.note(map[string]any{"ended": o.HookName})
		return nil, ctx.Err()
	}
	hook, known := hooks[o.HookName]
	if !known {
		return nil, status.Errorf(codes.NotFound, "no hook %q", o.HookName)
	}
	return o, hook(o)
}

func (s *server) DispatchEvent(ctx context.Context, e *pb.Event) (*pb.EventReply, error) {
	s.note(map[string]any{"event": json.RawMessage(e.Payload)})
	return &pb.EventReply{}, nil
}

func listen(address string) (net.Listener, error) {
	if path, unix := strings.CutPrefix(address, "unix:"); unix {
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", address)
}

func mutual(files string) (credentials.TransportCredentials, error) {
	names := strings.Split(files, ",")
	pair, err := tls.LoadX509KeyPair(names[0], names[1])
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(names[2])
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}), nil
}

func run() error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	streams := flags.Uint("streams", 0, "calls at once on one connection")
	age := flags.Uint("age", 0, "milliseconds after which a connection is drained")
	files := flags.String("tls", "", "certificate, key and the clients' authority")
	if len(os.Args) < 3 {
		return fmt.Errorf("expected ADDRESS RECORD, got %q", os.Args[1:])
	}
	if err := flags.Parse(os.Args[3:]); err != nil {
		return err
	}
	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(largest), grpc.MaxSendMsgSize(largest)}
	if *streams > 0 {
		options = append(options, grpc.MaxConcurrentStreams(uint32(*streams)))
	}
	if *age > 0 {
		options = append(options, grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: time.Duration(*age) * time.Millisecond,
		}))
	}
	if *files != "" {
		made, err := mutual(*files)
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(made))
	}
	record, err := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	listener, err := listen(os.Args[1])
	if err != nil {
		return err
	}
	made := grpc.NewServer(options...)
	pb.RegisterDispatcherServer(made, &server{record: record})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		time.AfterFunc(time.Minute, made.Stop)
		made.GracefulStop()
	}()
	fmt.Println("ready")
	return made.Serve(listener)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
