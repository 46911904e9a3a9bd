// A client on grpc-go: octets out, octets back. One line of JSON says what it found.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type raw struct{}

func (raw) Name() string                       { return "proto" }
func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		panic(err)
	}
	defer connection.Close()
	callIn := func(base context.Context, method string, octets []byte, options ...grpc.CallOption) ([]byte, error) {
		limited, cancel := context.WithTimeout(base, 10*time.Second)
		defer cancel()
		var reply []byte
		err := connection.Invoke(limited, method, &octets, &reply, options...)
		return reply, err
	}
	call := func(method string, octets []byte, options ...grpc.CallOption) ([]byte, error) {
		return callIn(context.Background(), method, octets, options...)
	}
	method := os.Args[2]
	rightly := func(octets []byte) bool {
		reply, err := call(method, octets)
		slices.Reverse(reply)
		if err != nil || !bytes.Equal(reply, octets) {
			fmt.Fprintf(os.Stderr, "%d octets came back as %d: %v\n", len(octets), len(reply), err)
			return false
		}
		return true
	}
	text := metadata.AppendToOutgoingContext(context.Background(), "x-status-text", "50% full\\")
	code := func(_ []byte, err error) string { return status.Code(err).String() }
	lengths := []int{}
	for _, length := range []int{0, 1, 2, 1000, 16383, 16384, 16385, 65535, 65536, 200000, 262144} {
		if rightly(bytes.Repeat([]byte{7}, length)) {
			lengths = append(lengths, length)
		}
	}
	health, err := call("/grpc.health.v1.Health/Check", nil)
	if err != nil {
		panic(err)
	}
	var concurrent atomic.Int64
	var group sync.WaitGroup
	for worker := range 64 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 100 {
				if rightly(bytes.Repeat(fmt.Append(nil, worker, "-", i), i%400+1)) {
					concurrent.Add(1)
				}
			}
		}()
	}
	group.Wait()
	_, refusal := callIn(text, method, []byte("fail"))
	failed := status.Convert(refusal)
	found, err := json.Marshal(map[string]any{
		"lengths":    lengths,
		"health":     fmt.Sprintf("%x", health),
		"unknown":    code(call(method+"Not", []byte("x"))),
		"oversize":   code(call(method, bytes.Repeat([]byte("x"), 262145))),
		"compressed": code(call(method, bytes.Repeat([]byte("x"), 1000), grpc.UseCompressor(gzip.Name))),
		"failed":     []string{failed.Code().String(), failed.Message()},
		"concurrent": concurrent.Load(),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(found))
}
