package vswitch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sdn-tunnel/sdn-tunnel/ovsflow"
)

// Fake is a Switch in memory for tests. It behaves as OVS does, as far as this package
// asks anything of it: one table of tests is run against both. The methods that are not
// Switch's are what happens to a switch from outside.
type Fake struct {
	mu      sync.Mutex
	down    bool
	links   map[string]bool // links of the node that can be ports
	bridges map[string]*fakeBridge
	watches map[int]fakeWatch
	last    int // number given last, to a port or a watch
}

type fakeBridge struct {
	datapath string
	ports    map[string]*fakePort
	flows    map[string]string // actions, by what identifies the flow
	cookies  map[string]string // the same for cookies, as "cookie=…"
}

type fakePort struct {
	ofport uint32
	tagged bool
	link   int
	err    string
}

type fakeWatch struct {
	bridge string
	notify func()
}

// NewFake is a switch that runs and has no bridge.
func NewFake() *Fake {
	return &Fake{links: map[string]bool{}, bridges: map[string]*fakeBridge{}, watches: map[int]fakeWatch{}}
}

// AddBridge makes a bridge, as the SDN does.
func (f *Fake) AddBridge(name, datapathType string) {
	f.change(name, func() {
		f.bridges[name] = &fakeBridge{
			datapath: datapathType, ports: map[string]*fakePort{},
			flows: map[string]string{}, cookies: map[string]string{},
		}
	})
}

// DeleteBridge deletes a bridge with its ports and flows.
func (f *Fake) DeleteBridge(name string) { f.change(name, func() { delete(f.bridges, name) }) }

// AddLink gives the node a link; a port of that name that waits for it gets its number.
func (f *Fake) AddLink(name string) {
	f.change("", func() {
		f.links[name] = true
		f.plug()
	})
}

// DeleteLink takes a link from the node. Its port stays, without a number.
func (f *Fake) DeleteLink(name string) {
	f.change("", func() {
		delete(f.links, name)
		f.plug()
	})
}

// AddForeignPort is somebody else's adding a port, without our mark.
func (f *Fake) AddForeignPort(bridge, port string) {
	f.change(bridge, func() {
		f.bridges[bridge].ports[port] = &fakePort{}
		f.plug()
	})
}

// Stop ends the switch and its database; Start brings them back, as a restart does:
// ports are kept and numbered anew, flows are gone.
func (f *Fake) Stop() { f.change("", func() { f.down = true }) }

// Start brings back what Stop ended.
func (f *Fake) Start() {
	f.change("", func() {
		f.down = false
		for _, b := range f.bridges {
			clear(b.flows)
			clear(b.cookies)
			for _, p := range b.ports {
				p.ofport = 0
			}
		}
		f.plug()
	})
}

// change runs fn and then tells those who watch the bridge; "" is every bridge.
func (f *Fake) change(bridge string, fn func()) {
	f.mu.Lock()
	fn()
	var told []func()
	for _, w := range f.watches {
		if bridge == "" || bridge == w.bridge {
			told = append(told, w.notify)
		}
	}
	f.mu.Unlock()
	for _, notify := range told {
		notify()
	}
}

// plug numbers the ports whose links are there.
func (f *Fake) plug() {
	for _, b := range f.bridges {
		for name, p := range b.ports {
			switch {
			case !f.links[name]:
				p.ofport, p.err = 0, fmt.Sprintf("could not open network device %s (No such device)", name)
			case p.ofport == 0:
				f.last++
				p.ofport, p.err = uint32(f.last), ""
			}
		}
	}
}

// find is the bridge, or why there is none.
func (f *Fake) find(bridge string) (*fakeBridge, error) {
	if f.down {
		return nil, fmt.Errorf("%w: %w", ErrNoOVS, fs.ErrNotExist) // as when its socket is gone
	}
	b := f.bridges[bridge]
	if b == nil {
		return nil, fmt.Errorf("bridge %s: %w", bridge, ErrNoBridge)
	}
	return b, nil
}

// State implements Switch.
func (f *Fake) State(_ context.Context, bridge, port string) (State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.find(bridge)
	if err != nil {
		return State{}, err
	}
	s := State{DatapathType: b.datapath}
	if p := b.ports[port]; p != nil {
		s.OnBridge, s.Tagged, s.OFPort, s.Link, s.Error = true, p.tagged, p.ofport, p.link, p.err
	}
	return s, nil
}

// AddPort implements Switch.
func (f *Fake) AddPort(_ context.Context, bridge, port string, link int) (err error) {
	f.change(bridge, func() {
		var b *fakeBridge
		if b, err = f.find(bridge); err != nil {
			return
		}
		for name, other := range f.bridges {
			if name != bridge && other.ports[port] != nil {
				err = fmt.Errorf("port %s is already on bridge %s", port, name)
				return
			}
		}
		if b.ports[port] == nil {
			b.ports[port] = &fakePort{}
		}
		b.ports[port].tagged, b.ports[port].link = true, link
		f.plug()
	})
	return err
}

// DeletePort implements Switch.
func (f *Fake) DeletePort(_ context.Context, bridge, port string) (err error) {
	f.change(bridge, func() {
		var b *fakeBridge
		if b, err = f.find(bridge); err == nil {
			delete(b.ports, port)
		}
	})
	return err
}

// Flows implements Switch.
func (f *Fake) Flows(_ context.Context, bridge string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.find(bridge)
	if err != nil {
		return "", err
	}
	return b.dump(func(cookie string) bool { return cookie == ourCookie }), nil
}

// AllFlows are those of others, too.
func (f *Fake) AllFlows(bridge string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.bridges[bridge]
	if b == nil {
		return ""
	}
	return b.dump(func(string) bool { return true })
}

func (b *fakeBridge) dump(which func(cookie string) bool) string {
	var lines []string
	for match, actions := range b.flows {
		if which(b.cookies[match]) {
			lines = append(lines, fmt.Sprintf(" %s, duration=1.000s, n_packets=0, n_bytes=0, %s actions=%s", b.cookies[match], match, actions))
		}
	}
	slices.Sort(lines)
	return strings.Join(append([]string{"OFPST_FLOW reply (OF1.3) (xid=0x2):"}, lines...), "\n") + "\n"
}

// Bundle implements Switch.
func (f *Fake) Bundle(_ context.Context, bridge, lines string) error {
	f.mu.Lock()
	b, err := f.find(bridge)
	if err != nil {
		f.mu.Unlock()
		return err
	}
	next := &fakeBridge{flows: maps.Clone(b.flows), cookies: maps.Clone(b.cookies)}
	ours := false
	for line := range strings.Lines(lines) {
		touched, err := next.modify(strings.TrimSpace(line))
		if err != nil {
			f.mu.Unlock()
			return fmt.Errorf("bundle: %q: %w", line, err)
		}
		ours = ours || touched
	}
	b.flows, b.cookies = next.flows, next.cookies
	f.mu.Unlock()
	if ours {
		f.change(bridge, func() {})
	}
	return nil
}

// modify runs one line of a bundle and tells whether it changed flows of ours.
func (b *fakeBridge) modify(line string) (ours bool, err error) {
	if line == "delete" { // all, as by hand
		ours = slices.Contains(slices.Collect(maps.Values(b.cookies)), ourCookie)
		clear(b.flows)
		clear(b.cookies)
		return ours, nil
	}
	if rest, ok := strings.CutPrefix(line, "delete "); ok {
		cookie, ok := strings.CutSuffix(rest, "/-1")
		if !ok {
			return false, errors.New("the fake deletes by cookie only")
		}
		for match, c := range b.cookies {
			if c == cookie {
				ours = ours || c == ourCookie
				delete(b.flows, match)
				delete(b.cookies, match)
			}
		}
		return ours, nil
	}
	rest, ok := strings.CutPrefix(line, "add ")
	if !ok {
		return false, errors.New("want add or delete")
	}
	flows, err := ovsflow.Parse(rest)
	if err != nil || len(flows) != 1 {
		return false, fmt.Errorf("want a flow: %w", err)
	}
	text, err := ovsflow.Text(flows[0])
	if err != nil {
		return false, err
	}
	head, actions, _ := strings.Cut(text, " actions=")
	cookie, match, _ := strings.Cut(head, ",")
	b.flows[match], b.cookies[match] = actions, cookie
	return cookie == ourCookie, nil
}

// Watch implements Switch.
func (f *Fake) Watch(ctx context.Context, bridge string, notify func()) error {
	f.mu.Lock()
	f.last++
	id := f.last
	f.watches[id] = fakeWatch{bridge, notify}
	f.mu.Unlock()
	notify()
	<-ctx.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watches, id)
	return nil
}

var (
	_ Switch = (*Fake)(nil)
	_ Switch = (*OVS)(nil)
)
