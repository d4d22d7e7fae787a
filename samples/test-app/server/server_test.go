package server

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestLinger: a server that is told to end answers for a while, and then ends.
func TestLinger(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const linger = 2 * time.Second
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Server{Linger: linger}.Serve(ctx, tcp, udp) }()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	ask := func() error {
		r, err := client.Get("http://" + tcp.Addr().String() + "/")
		if err == nil {
			err = r.Body.Close()
		}
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	told := time.Now()
	end()
	if err := ask(); err != nil {
		t.Errorf("told to end: %v", err)
	}
	if err := <-done; err != nil || time.Since(told) < linger {
		t.Errorf("ended after %s: %v", time.Since(told), err)
	}
	if ask() == nil {
		t.Error("answers after its end")
	}
}
