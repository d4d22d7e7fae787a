// Package server is the answering half of the test application: one port, TCP (HTTP)
// and UDP, whose answers say which pod answered and which source address it saw.
// It keeps nothing and trusts nobody.
package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// MaxBlob is the largest transfer that one request may ask for, in bytes.
const MaxBlob = 64 << 20

// Answer is what the server says of a request.
type Answer struct {
	Pod  string `json:"pod"`
	Node string `json:"node"`
	// Remote is the source address and port that the server saw.
	Remote string `json:"remote"`
	// Size is the payload's size in bytes (UDP).
	Size int `json:"size,omitempty"`
	// Token is the first word of the payload (UDP), for matching answers to questions.
	Token string `json:"token,omitempty"`
}

// ChecksumHeader holds the SHA-256 of a transfer's body, in hexadecimal.
const ChecksumHeader = "X-Content-Sha256"

// Server answers for one pod.
type Server struct {
	Pod, Node string
	// Linger is how long it goes on answering when it is told to end. Until all clients
	// know that a pod ends, some still come to it.
	Linger time.Duration
}

// lastAnswers is how long connections may take to end by themselves.
const lastAnswers = time.Second

// ListenAndServe serves TCP and UDP on the same port until ctx ends.
func (s Server) ListenAndServe(ctx context.Context, addr string) error {
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		_ = tcp.Close()
		return fmt.Errorf("listen: %w", err)
	}
	return s.Serve(ctx, tcp, udp)
}

// Serve serves on listeners that exist, and closes them when ctx has ended and the time to
// linger is over.
func (s Server) Serve(ctx context.Context, tcp net.Listener, udp net.PacketConn) error {
	web := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 2)
	go func() { failed <- web.Serve(tcp) }()
	go func() { failed <- s.serveUDP(udp) }()
	slog.Info("serving", "address", tcp.Addr().String(), "pod", s.Pod, "node", s.Node)

	var err error
	waiting := 2
	select {
	case <-ctx.Done():
		time.Sleep(s.Linger)
	case err = <-failed:
		waiting--
	}
	last, cancel := context.WithTimeout(context.Background(), lastAnswers)
	defer cancel()
	if web.Shutdown(last) != nil {
		_ = web.Close()
	}
	_ = udp.Close()
	for ; waiting > 0; waiting-- {
		err = errors.Join(err, <-failed)
	}
	if ctx.Err() == nil {
		return err
	}
	return nil // it was asked to end
}

func (s Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", s.whoami)
	mux.HandleFunc("GET /blob", s.blob)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			slog.Info("request", "protocol", "tcp", "client", r.RemoteAddr, "path", r.URL.Path)
		}
		mux.ServeHTTP(w, r)
	})
}

func (s Server) whoami(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Answer{Pod: s.Pod, Node: s.Node, Remote: r.RemoteAddr})
}

// blob sends ?size=N bytes that do not compress, and their checksum before them.
func (s Server) blob(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.Atoi(r.URL.Query().Get("size"))
	if err != nil || size < 0 || size > MaxBlob {
		http.Error(w, fmt.Sprintf("size must be a number from 0 to %d", MaxBlob), http.StatusBadRequest)
		return
	}
	body := pattern(size)
	sum := sha256.Sum256(body)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(size))
	w.Header().Set(ChecksumHeader, hex.EncodeToString(sum[:]))
	_, _ = w.Write(body)
}

// pattern is a fixed pseudo-random sequence (xorshift32): a packet lost, doubled or
// misplaced changes the checksum.
func pattern(size int) []byte {
	body := make([]byte, size)
	x := uint32(2463534242)
	for i := range body {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		body[i] = byte(x)
	}
	return body
}

// serveUDP answers each datagram with a small one, however large the question was.
func (s Server) serveUDP(conn net.PacketConn) error {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			slog.Warn("read a datagram", "error", err)
			continue
		}
		slog.Info("request", "protocol", "udp", "client", from.String(), "size", n)
		answer := Answer{Pod: s.Pod, Node: s.Node, Remote: unmapped(from), Size: n, Token: firstWord(buf[:n])}
		out, err := json.Marshal(answer)
		if err != nil {
			return fmt.Errorf("encode an answer: %w", err)
		}
		if _, err := conn.WriteTo(out, from); err != nil {
			slog.Warn("answer a datagram", "client", from.String(), "error", err)
		}
	}
}

// unmapped shows an IPv4 client of a dual-stack socket as IPv4.
func unmapped(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
}

// firstWord is the payload up to the first blank, at most 64 printable bytes of it.
func firstWord(payload []byte) string {
	for i, c := range payload {
		if c <= ' ' || c > '~' || i == 64 {
			return string(payload[:i])
		}
	}
	return string(payload[:min(len(payload), 64)])
}
