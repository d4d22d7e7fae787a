package vswitch

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/ovsflow"
)

const (
	ourFlow   = "cookie=0x73646e74756e0001,table=30,priority=350,ip,nw_dst=10.132.0.0/14 actions=drop\n"
	ourFlow2  = "cookie=0x73646e74756e0001,table=0,priority=350,ip,nw_src=10.132.0.0/14 actions=drop\n"
	theirFlow = "cookie=0x5,table=0,priority=5 actions=drop\n"
)

// TestSwitch is what this package counts on, of the fake and of Open vSwitch.
func TestSwitch(t *testing.T) {
	onBoth(t, func(t *testing.T, s Switch, n node) {
		for _, tt := range switchTests {
			t.Run(tt.name, func(t *testing.T) {
				n.reset()
				tt.run(t, s, n)
			})
		}
	})
}

func state(t *testing.T, s Switch) State {
	t.Helper()
	st, err := s.State(t.Context(), "br0", "sdntun1")
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holds compares the flows that Flows gives, and all that the bridge has.
func holds(t *testing.T, s Switch, n node, ours, all string) {
	t.Helper()
	dump, err := s.Flows(t.Context(), "br0")
	must(t, err)
	if got := texts(t, dump); got != ours {
		t.Errorf("flows of ours:\n%swant:\n%s", got, ours)
	}
	if got := texts(t, n.allFlows()); got != all {
		t.Errorf("all flows:\n%swant:\n%s", got, all)
	}
}

var switchTests = []struct {
	name string
	run  func(*testing.T, Switch, node)
}{
	{"no bridge", func(t *testing.T, s Switch, _ node) {
		if _, err := s.State(t.Context(), "br0", "sdntun1"); !errors.Is(err, ErrNoBridge) || errors.Is(err, ErrNoOVS) {
			t.Errorf("State: %v", err)
		}
		if err := s.AddPort(t.Context(), "br0", "sdntun1", 0); err == nil {
			t.Error("a port was added to no bridge")
		}
		if _, err := s.Flows(t.Context(), "br0"); err == nil {
			t.Error("no bridge has flows")
		}
		if err := s.Bundle(t.Context(), "br0", "add "+ourFlow); err == nil {
			t.Error("no bridge takes flows")
		}
	}},
	{"bridge without the port", func(t *testing.T, s Switch, n node) {
		n.addBridge()
		if got, want := state(t, s), (State{DatapathType: Userspace}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		must(t, s.DeletePort(t.Context(), "br0", "sdntun1"))
		holds(t, s, n, "", theirFlow)
	}},
	{"add port, twice", func(t *testing.T, s Switch, n node) {
		n.addBridge()
		n.addLink()
		must(t, s.AddPort(t.Context(), "br0", "sdntun1", 0))
		first := state(t, s)
		if !first.OnBridge || !first.Tagged || first.OFPort == 0 || first.Error != "" {
			t.Errorf("got %+v", first)
		}
		must(t, s.AddPort(t.Context(), "br0", "sdntun1", 0))
		if again := state(t, s); again != first {
			t.Errorf("first %+v, then %+v", first, again)
		}
	}},
	{"port before its link", func(t *testing.T, s Switch, n node) {
		n.addBridge()
		must(t, s.AddPort(t.Context(), "br0", "sdntun1", 0))
		if got := state(t, s); !got.OnBridge || !got.Tagged || got.OFPort != 0 || !strings.Contains(got.Error, "No such device") {
			t.Errorf("without its link: %+v", got)
		}
		n.addLink()
		eventually(t, "the port gets a number", func() bool { return state(t, s).OFPort > 0 && state(t, s).Error == "" })
		n.deleteLink()
		eventually(t, "the port loses its number", func() bool { return state(t, s).OFPort == 0 })
	}},
	{"port of somebody else", func(t *testing.T, s Switch, n node) {
		n.addBridge()
		n.addLink()
		n.foreignPort()
		before := state(t, s)
		if !before.OnBridge || before.Tagged || before.OFPort == 0 {
			t.Errorf("got %+v", before)
		}
		must(t, s.AddPort(t.Context(), "br0", "sdntun1", 0))
		before.Tagged = true
		if got := state(t, s); got != before {
			t.Errorf("got %+v, want %+v", got, before)
		}
	}},
	{"delete port, twice", func(t *testing.T, s Switch, n node) {
		n.addBridge()
		n.addLink()
		for range 2 {
			must(t, s.AddPort(t.Context(), "br0", "sdntun1", 0))
			must(t, s.DeletePort(t.Context(), "br0", "sdntun1"))
			must(t, s.DeletePort(t.Context(), "br0", "sdntun1"))
			if got, want := state(t, s), (State{DatapathType: Userspace}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
	}},
	{"bundle: add, replace, delete ours", func(t *testing.T, s Switch, n node) {
		n.addBridge()
		must(t, s.Bundle(t.Context(), "br0", "add "+ourFlow))
		holds(t, s, n, ourFlow, theirFlow+ourFlow)
		must(t, s.Bundle(t.Context(), "br0", "delete "+ovsflow.DeleteOurs+"\nadd "+ourFlow2))
		holds(t, s, n, ourFlow2, theirFlow+ourFlow2)
		other := strings.Replace(ourFlow2, "drop", "goto_table:30", 1)
		must(t, s.Bundle(t.Context(), "br0", "add "+other)) // same match: other actions
		holds(t, s, n, other, theirFlow+other)
		must(t, s.Bundle(t.Context(), "br0", "delete "+ovsflow.DeleteOurs))
		holds(t, s, n, "", theirFlow)
	}},
	{"bundle: all or nothing", func(t *testing.T, s Switch, n node) {
		n.addBridge()
		must(t, s.Bundle(t.Context(), "br0", "add "+ourFlow))
		bad := "delete " + ovsflow.DeleteOurs + "\nadd " + ourFlow2 + "add table=300 actions=drop\n"
		if err := s.Bundle(t.Context(), "br0", bad); err == nil {
			t.Error("table 300 was taken")
		}
		holds(t, s, n, ourFlow, theirFlow+ourFlow)
	}},
	{"restart: the port stays, flows go", func(t *testing.T, s Switch, n node) {
		n.addBridge()
		n.addLink()
		must(t, s.AddPort(t.Context(), "br0", "sdntun1", 0))
		must(t, s.Bundle(t.Context(), "br0", "add "+ourFlow))
		n.restart()
		if got := state(t, s); !got.OnBridge || !got.Tagged || got.OFPort == 0 {
			t.Errorf("got %+v", got)
		}
		holds(t, s, n, "", theirFlow)
	}},
	{"bridge made again: empty", func(t *testing.T, s Switch, n node) {
		n.addBridge()
		n.addLink()
		must(t, s.AddPort(t.Context(), "br0", "sdntun1", 0))
		must(t, s.Bundle(t.Context(), "br0", "add "+ourFlow))
		n.deleteBridge()
		n.addBridge()
		if got, want := state(t, s), (State{DatapathType: Userspace}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		holds(t, s, n, "", theirFlow)
	}},
	{"watch tells of ours and not of others' flows", func(t *testing.T, s Switch, n node) {
		n.addBridge()
		n.addLink()
		events := watchFunc(t, func(ctx context.Context, notify func()) error { return s.Watch(ctx, "br0", notify) })
		told := func(what string, change func()) {
			t.Helper()
			quiet(events)
			change()
			select {
			case <-events:
			case <-time.After(15 * time.Second):
				t.Errorf("not told: %s", what)
			}
		}
		told("port added", func() { must(t, s.AddPort(t.Context(), "br0", "sdntun1", 0)) })
		told("flow added", func() { must(t, s.Bundle(t.Context(), "br0", "add "+ourFlow)) })
		told("flow deleted", func() { n.edit("delete", ovsflow.DeleteOurs) })
		told("port deleted", n.deletePort)
		told("restart", n.restart)
		told("bridge deleted", n.deleteBridge)
		told("bridge made", n.addBridge)
		told("flow of the new bridge", func() { must(t, s.Bundle(t.Context(), "br0", "add "+ourFlow)) })
		quiet(events)
		n.edit("add", "cookie=0x7,table=0,priority=6 actions=drop")
		select {
		case <-events:
			t.Error("told of a flow that is not ours")
		case <-time.After(500 * time.Millisecond):
		}
	}},
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 400 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("not in 20 s: %s", what)
}

func TestNoOVS(t *testing.T) {
	fake := NewFake()
	fake.AddBridge("br0", "")
	fake.Stop()
	for name, s := range map[string]Switch{
		"fake": fake,
		"real": NewOVS(t.TempDir(), slog.New(slog.DiscardHandler)),
	} {
		if _, err := s.State(t.Context(), "br0", "sdntun1"); !errors.Is(err, ErrNoOVS) {
			t.Errorf("%s: State without a switch: %v", name, err)
		}
	}
}
