package wg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// fakeResolver answers all names alike; no answer is an error.
type fakeResolver struct {
	mu     sync.Mutex
	answer []string
	asked  int
}

// says sets the answers, and counts from nothing.
func (f *fakeResolver) says(answer ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer, f.asked = answer, 0
}

func (f *fakeResolver) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *fakeResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if len(f.answer) == 0 {
		return nil, errors.New("no such host")
	}
	var as []netip.Addr
	for _, a := range f.answer {
		as = append(as, netip.MustParseAddr(a))
	}
	return as, nil
}

func named(host string) mesh.DataPlane {
	return mesh.DataPlane{
		Peers:     []mesh.Peer{{Ref: mesh.Ref{Cluster: "c"}, Endpoint: mesh.Endpoint{Host: host, Port: 5555}}},
		LocalPods: []netip.Prefix{netip.MustParsePrefix("10.128.0.0/14")}, Remote: []netip.Prefix{netip.MustParsePrefix("10.132.0.0/14")},
	}
}

// TestNames follows a name through what a resolver may say, on a clock of its own.
func TestNames(t *testing.T) {
	steps := []struct {
		name     string
		answer   []string
		notified int // in ten minutes
		addr     string
	}{
		{"found", []string{"192.0.2.1"}, 1, "192.0.2.1:5555"},
		{"the same in mapped form", []string{"::ffff:192.0.2.1"}, 0, "192.0.2.1:5555"},
		{"one of several", []string{"192.0.2.9", "::ffff:192.0.2.1"}, 0, "192.0.2.1:5555"},
		{"another, mapped", []string{"::ffff:192.0.2.2"}, 1, "192.0.2.2:5555"},
		{"lost: the last one stays", nil, 0, "192.0.2.2:5555"},
		{"back", []string{"192.0.2.2"}, 0, "192.0.2.2:5555"},
		{"behind the tunnel, loopback: the last one stays", []string{"10.132.0.11", "10.128.0.1", "127.0.0.1", "::1"}, 0, "192.0.2.2:5555"},
		{"behind the tunnel, and not", []string{"10.132.0.11", "192.0.2.4"}, 1, "192.0.2.4:5555"},
		{"IPv6", []string{"2001:db8::1"}, 1, "[2001:db8::1]:5555"},
	}
	synctest.Test(t, func(t *testing.T) {
		r := &fakeResolver{}
		n := newNames(r, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		var notified atomic.Int32
		dp := named("peer.example")
		r.says(steps[0].answer...)
		n.want(dp)
		go n.run(ctx, func() { notified.Add(1) })
		for _, s := range steps {
			r.says(s.answer...)
			notified.Store(0)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if got := int(notified.Load()); got != s.notified {
				t.Errorf("%s: notified %d times, want %d", s.name, got, s.notified)
			}
			if got := n.addrPort("c", dp.Peers[0].Endpoint).String(); got != s.addr {
				t.Errorf("%s: %s, want %s", s.name, got, s.addr)
			}
		}
	})
}

// TestNamesPace: a name that works is asked for each minute, one that does not ever more
// slowly, one that nobody wants not at all.
func TestNamesPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &fakeResolver{}
		n := newNames(r, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go n.run(ctx, func() {})
		asked := func(what string, d time.Duration, want int, answer ...string) {
			t.Helper()
			r.says(answer...)
			time.Sleep(d)
			synctest.Wait()
			if got := r.count(); got != want {
				t.Errorf("%s: asked %d times, want %d", what, got, want)
			}
		}
		asked("no name", time.Hour, 0)
		n.want(named("192.0.2.1"))
		asked("a literal address", time.Hour, 0)
		n.want(named("peer.example"))
		asked("fails", 62*time.Second, 6) // at 0, 1, 3, 7, 15, 31 s
		asked("goes on failing", 10*time.Minute, 10)
		asked("works", 10*time.Minute, 10, "192.0.2.1")
		n.want(mesh.DataPlane{})
		asked("not wanted", time.Hour, 0)
		if e := n.addrPort("c", mesh.Endpoint{Host: "peer.example", Port: 1}); e.IsValid() {
			t.Errorf("kept %v", e)
		}
	})
}

// slowFor answers, after a while, for all names but one.
type slowFor struct{ good string }

func (s slowFor) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	if host == s.good {
		return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestNamesApart: a cluster whose names time out holds up no other's.
func TestNamesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var peers []mesh.Peer
		for i := range 1000 {
			peers = append(peers, mesh.Peer{Ref: mesh.Ref{Cluster: "bad"}, Endpoint: mesh.Endpoint{Host: fmt.Sprintf("n%d.bad.example", i), Port: 5555}})
		}
		good := mesh.Peer{Ref: mesh.Ref{Cluster: "good"}, Endpoint: mesh.Endpoint{Host: "good.example", Port: 5555}}
		n := newNames(slowFor{good.Endpoint.Host}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		var notified atomic.Int32
		n.want(mesh.DataPlane{Peers: peers})
		go n.run(ctx, func() { notified.Add(1) })
		time.Sleep(time.Minute)
		n.want(mesh.DataPlane{Peers: append(peers, good)})
		time.Sleep(time.Second)
		synctest.Wait()
		if e := n.addrPort("good", good.Endpoint); !e.IsValid() || notified.Load() != 1 {
			t.Errorf("at %v after a second, notified %d times", e, notified.Load())
		}
		if e := n.addrPort("bad", good.Endpoint); e.IsValid() {
			t.Errorf("another cluster's name is at %v, too", e)
		}
	})
}

// TestNamesRunAgain: what is looked up goes on with the next run.
func TestNamesRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &fakeResolver{}
		n := newNames(r, slog.New(slog.DiscardHandler))
		dp := named("peer.example")
		n.want(dp)
		for _, answer := range []string{"192.0.2.1", "192.0.2.2"} {
			r.says(answer)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			n.run(ctx, func() {})
			cancel()
			if got := n.addrPort("c", dp.Peers[0].Endpoint).Addr().String(); got != answer {
				t.Errorf("%s, want %s", got, answer)
			}
		}
	})
}
