package sdn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	"golang.org/x/sync/errgroup"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

// resyncPeriod is how often the bridge is looked at although nothing was heard of it.
const resyncPeriod = 30 * time.Second

// node is a running daemon.
type node struct {
	cfg  Config
	ovs  ovs
	kick chan struct{}

	mu sync.Mutex // one change of the bridge at a time; guards what follows
	// subnet is the node's own, invalid until its HostSubnet is there.
	subnet netip.Prefix
	pods   *podStore
	// attached: the bridge and the kernel's side of it are this process's.
	attached bool
	// written is what the bridge's flows were last made from, nil for none.
	written *tables.Node
}

// RunNode keeps a node's bridge as OpenShift SDN's would be, and serves its CNI plugin,
// until ctx ends. It runs in the node's network namespace; ovsdb-server and
// ovs-vswitchd run already, or will. What it made stays when it ends, as OpenShift's
// does: pods keep their network while it is restarted.
func RunNode(ctx context.Context, cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	n := &node{cfg: cfg, ovs: ovs{runDir: cfg.OVSRunDir}, kick: make(chan struct{}, 1)}
	if n.pods, err = openPodStore(filepath.Join(cfg.StateDir, "pods.json")); err != nil {
		return err
	}
	if err := n.readWritten(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return cfg.Source.Run(ctx, n.wake) })
	group.Go(func() error { return n.serveCNI(ctx) })
	group.Go(func() error { n.watchBridge(ctx, n.wake); return nil })
	group.Go(func() error { n.loop(ctx); return nil })
	return group.Wait()
}

func (n *node) wake() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

func (n *node) loop(ctx context.Context) {
	delay := resyncPeriod
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.kick:
		case <-time.After(delay):
		}
		delay = resyncPeriod
		if err := n.sync(ctx); err != nil && ctx.Err() == nil {
			n.cfg.Log.Error("bridge is not as it should be", "err", err)
			delay = 300 * time.Millisecond
		}
	}
}

// sync makes the bridge right, from whatever state it is in.
func (n *node) sync(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.syncLocked(ctx)
}

func (n *node) syncLocked(ctx context.Context) error {
	state := n.cfg.Source.State()
	own := ownSubnet(state, n.cfg.Node)
	if own == nil {
		return nil // the source tells when it comes
	}
	subnet, err := netip.ParsePrefix(own.Subnet)
	if err != nil {
		return fmt.Errorf("HostSubnet %s: %w", own.Name, err)
	}
	n.subnet = subnet
	if !n.current(ctx) {
		n.attached, n.written = false, nil
		n.dropStalePods(ctx)
		if err := n.rebuild(ctx); err != nil {
			return err
		}
	}
	if !n.attached {
		if err := n.attach(ctx); err != nil {
			return err
		}
	}
	return n.writeFlows(ctx, state)
}

// attach does what does not live in the bridge's flows, after a start and after the
// bridge was made again.
func (n *node) attach(ctx context.Context) error {
	n.dropStalePods(ctx)
	if err := n.ensureVTEP(ctx); err != nil {
		return err
	}
	if err := n.ensureKernel(ctx); err != nil {
		return err
	}
	for _, p := range n.pods.all() {
		port, err := n.addPort(ctx, p)
		if err != nil {
			return err
		}
		p.port = port
		n.pods.pods[p.Sandbox] = p
	}
	peers, err := peersOf(n.cfg.Source.State(), n.cfg.Node)
	if err != nil {
		return err
	}
	if err := n.reachPeers(ctx, peers); err != nil {
		return err
	}
	n.attached = true
	return nil
}

// dropStalePods forgets pods whose interface went with the node's last life.
func (n *node) dropStalePods(ctx context.Context) {
	for _, p := range n.pods.all() {
		if linkExists(p.Veth) {
			continue
		}
		if _, err := n.ovs.vsctl(ctx, "--if-exists", "del-port", bridge, p.Veth); err != nil {
			n.cfg.Log.Warn("port of a pod that is gone", "pod", p.Name, "err", err)
		}
		if err := n.pods.remove(p.Sandbox); err != nil {
			n.cfg.Log.Warn("record of a pod that is gone", "pod", p.Name, "err", err)
		}
	}
}

// writeFlows brings the flows from what was written to what the cluster says now.
func (n *node) writeFlows(ctx context.Context, state State) error {
	want, err := n.describe(ctx, state)
	if err != nil {
		return err
	}
	var changes []tables.Change
	var known []tables.Peer
	if n.written == nil {
		for _, f := range want.Flows() {
			changes = append(changes, tables.Change("flow add "+f.String()))
		}
	} else {
		changes, known = tables.Diff(*n.written, want), n.written.Peers
	}
	if err := n.reachPeers(ctx, newPeers(known, want.Peers)); err != nil {
		return err
	}
	if err := n.ovs.apply(ctx, bridge, changes); err != nil {
		return fmt.Errorf("write %d changes of flows: %w", len(changes), err)
	}
	if len(changes) > 0 {
		n.cfg.Log.Debug("flows written", "changes", len(changes))
	}
	n.written = &want
	return writeJSON(n.writtenPath(), want)
}

func (n *node) writtenPath() string { return filepath.Join(n.cfg.StateDir, "bridge.json") }

// readWritten remembers what an earlier process wrote; it counts only while the bridge
// is that process's.
func (n *node) readWritten() error {
	data, err := os.ReadFile(n.writtenPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("what was written to the bridge: %w", err)
	}
	n.written = &tables.Node{}
	if err := json.Unmarshal(data, n.written); err != nil {
		return fmt.Errorf("what was written to the bridge: %s: %w", n.writtenPath(), err)
	}
	return nil
}

func (n *node) gateway() netip.Addr { return tables.Node{HostSubnet: n.subnet}.Gateway() }

func ownSubnet(state State, name string) *networkv1.HostSubnet {
	for _, hs := range state.HostSubnets {
		if hs.Host == name {
			return hs
		}
	}
	return nil
}
