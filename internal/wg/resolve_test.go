package wg

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// fakeResolver answers all names alike; no answer is an error.
type fakeResolver struct {
	answer []string
	asked  int
}

func (f *fakeResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
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

func named(host string) []mesh.Peer {
	return []mesh.Peer{{Endpoint: mesh.Endpoint{Host: host, Port: 5555}}}
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
		{"IPv6", []string{"2001:db8::1"}, 1, "[2001:db8::1]:5555"},
	}
	synctest.Test(t, func(t *testing.T) {
		r := &fakeResolver{}
		n := newNames(r, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		notified := 0
		peers := named("peer.example")
		r.answer = steps[0].answer
		n.want(peers)
		go n.run(ctx, func() { notified++ })
		for _, s := range steps {
			r.answer, notified = s.answer, 0
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if notified != s.notified {
				t.Errorf("%s: notified %d times, want %d", s.name, notified, s.notified)
			}
			if got := n.addrPort(peers[0].Endpoint).String(); got != s.addr {
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
		asked := func(what string, d time.Duration, want int) {
			t.Helper()
			r.asked = 0
			time.Sleep(d)
			synctest.Wait()
			if r.asked != want {
				t.Errorf("%s: asked %d times, want %d", what, r.asked, want)
			}
		}
		asked("no name", time.Hour, 0)
		n.want(named("192.0.2.1"))
		asked("a literal address", time.Hour, 0)
		n.want(named("peer.example"))
		asked("fails", 62*time.Second, 6) // at 0, 1, 3, 7, 15, 31 s
		asked("goes on failing", 10*time.Minute, 10)
		r.answer = []string{"192.0.2.1"}
		asked("works", 10*time.Minute, 10)
		n.want(nil)
		asked("not wanted", time.Hour, 0)
		if e := n.addrPort(mesh.Endpoint{Host: "peer.example", Port: 1}); e.IsValid() {
			t.Errorf("kept %v", e)
		}
	})
}
