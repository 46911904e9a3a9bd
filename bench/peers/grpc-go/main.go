// The least an ext_authz server on grpc-go does: find the key of a request in a map and allow or deny with a fixed reply.
// Usage: authorizer LISTEN KEYS, LISTEN being host:port or unix:/path and KEYS a file with one key a line.
// It prints "listening ADDRESS" once it accepts connections and ends on SIGTERM.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	envoytype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type server struct {
	auth.UnimplementedAuthorizationServer
	keys         map[string]struct{}
	allow        *auth.CheckResponse
	unknown      *auth.CheckResponse
	unauthorized *auth.CheckResponse
}

func (s *server) Check(_ context.Context, request *auth.CheckRequest) (*auth.CheckResponse, error) {
	http := request.GetAttributes().GetRequest().GetHttp()
	if _, known := s.keys[keyOf(http)]; !known {
		return s.unknown, nil
	}
	if strings.HasPrefix(http.GetPath(), "/v1/none/") {
		return s.unauthorized, nil
	}
	return s.allow, nil
}

// Envoy fills one of the two, by encode_raw_headers.
func keyOf(http *auth.AttributeContext_HttpRequest) string {
	if key, found := http.GetHeaders()["x-api-key"]; found {
		return key
	}
	for _, header := range http.GetHeaderMap().GetHeaders() {
		if header.GetKey() == "x-api-key" {
			return string(header.GetRawValue())
		}
	}
	return ""
}

func headerOf(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		Header: &core.HeaderValue{Key: name, Value: value},
		Append: wrapperspb.Bool(false),
	}
}

func denial(code codes.Code, httpStatus envoytype.StatusCode, text string) *auth.CheckResponse {
	return &auth.CheckResponse{
		Status: &status.Status{Code: int32(code)},
		HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
			Status:  &envoytype.HttpStatus{Code: httpStatus},
			Headers: []*core.HeaderValueOption{headerOf("content-type", "application/json")},
			Body:    fmt.Sprintf(`{"error":{"code":"%s","message":"%s"}}`, text, text),
		}},
	}
}

func newServer(keys map[string]struct{}) *server {
	return &server{
		keys: keys,
		allow: &auth.CheckResponse{
			Status: &status.Status{Code: int32(codes.OK)},
			HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{
				Headers: []*core.HeaderValueOption{
					headerOf("x-organization-id", "org_019ca000-0000-7000-8000-000000000001"),
					headerOf("x-api-key-id", "key_019ca000-0000-7000-8000-000000000001"),
				},
				HeadersToRemove: []string{"x-api-key"},
			}},
		},
		unknown:      denial(codes.Unauthenticated, envoytype.StatusCode_Unauthorized, "invalid"),
		unauthorized: denial(codes.PermissionDenied, envoytype.StatusCode_Forbidden, "scope"),
	}
}

func readKeys(path string) (map[string]struct{}, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	keys := make(map[string]struct{})
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		keys[lines.Text()] = struct{}{}
	}
	return keys, lines.Err()
}

func listen(address string) (net.Listener, error) {
	if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix {
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", address)
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: authorizer LISTEN KEYS")
	}
	keys, err := readKeys(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	listener, err := listen(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	service := grpc.NewServer()
	auth.RegisterAuthorizationServer(service, newServer(keys))
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		service.Stop()
	}()
	fmt.Println("listening", listener.Addr())
	if err := service.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
