package probe

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/server"
)

// ServicesRequest is which services to ask; it is read as JSON from standard input.
type ServicesRequest struct {
	Services []Service `json:"services"`
	// TimeoutSeconds bounds each question; default 5.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
}

// Service is several servers behind one address or name.
type Service struct {
	// Name is the caller's, and comes back in the result.
	Name string `json:"name"`
	// Host is an address, or a name that this pod's resolver knows.
	Host string `json:"host"`
	Port int    `json:"port"`
	// Requests is how many connections, and how many datagrams, are tried.
	Requests int `json:"requests"`
}

// ServiceResult is what one service answered.
type ServiceResult struct {
	Service Service `json:"service"`
	// Address is what Host was resolved to, the last time.
	Address string `json:"address,omitempty"`
	TCP     Tally  `json:"tcp"`
	UDP     Tally  `json:"udp"`
}

// Tally counts the answers of one protocol.
type Tally struct {
	Answered int `json:"answered"`
	// Servers is how often each pod answered.
	Servers map[string]int `json:"servers,omitempty"`
	// Seen is the source address that the servers saw, Source the one that was used: of
	// the first answer where they differ, else of the last.
	Source string `json:"source,omitempty"`
	Seen   string `json:"seen,omitempty"`
	// Error is the first question's that had no answer.
	Error string `json:"error,omitempty"`
}

// Ask asks all services at once, each again and again, and returns the results in their
// order. Every question is a connection, or socket, of its own.
func Ask(ctx context.Context, req ServicesRequest) []ServiceResult {
	if req.TimeoutSeconds <= 0 {
		req.TimeoutSeconds = 5
	}
	timeout := time.Duration(req.TimeoutSeconds) * time.Second
	results := make([]ServiceResult, len(req.Services))
	var wg sync.WaitGroup
	for i, s := range req.Services {
		results[i].Service = s
		a := asker{hostPort: net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), timeout: timeout}
		wg.Go(func() {
			results[i].TCP = a.tally(ctx, s.Requests, a.tcp)
			results[i].UDP = a.tally(ctx, s.Requests, a.udp)
			results[i].Address = a.address
		})
	}
	wg.Wait()
	return results
}

// asker asks one service.
type asker struct {
	hostPort string
	timeout  time.Duration
	address  string
}

// tally asks so many times and stops early when nothing answers.
func (a *asker) tally(ctx context.Context, requests int, ask func(context.Context, int) (server.Answer, net.Conn, error)) Tally {
	t := Tally{Servers: map[string]int{}}
	for i := range requests {
		answer, conn, err := ask(ctx, i)
		if err != nil {
			if t.Error == "" {
				t.Error = err.Error()
			}
			if ctx.Err() != nil || i == 1 && t.Answered == 0 {
				break
			}
			continue
		}
		a.address = host(conn.RemoteAddr().String())
		t.Answered++
		t.Servers[answer.Pod]++
		if t.Seen == t.Source { // one that differs stays
			t.Source, t.Seen = host(conn.LocalAddr().String()), host(answer.Remote)
		}
	}
	return t
}

// tcp asks over a new connection.
func (a *asker) tcp(ctx context.Context, _ int) (answer server.Answer, used net.Conn, err error) {
	client := newClient(a.timeout, func(c net.Conn, _ time.Duration) { used = c })
	answer, err = whoami(ctx, client, a.hostPort)
	return answer, used, err
}

// udp asks from a new socket.
func (a *asker) udp(ctx context.Context, i int) (server.Answer, net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: a.timeout}).DialContext(ctx, "udp", a.hostPort)
	if err != nil {
		return server.Answer{}, nil, err
	}
	defer conn.Close()
	answer, err := ask(ctx, conn, fmt.Sprintf("ask-%d", i), 0, a.timeout)
	return answer, conn, err
}
