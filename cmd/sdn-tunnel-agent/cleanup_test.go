package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// inside is set in the process that has a node of its own: its own network, and empty
// folders where agents leave things.
const inside = "SDN_TUNNEL_TEST_STATE"

// TestCleanup: cleanup works on a node without Open vSwitch and without anything of an
// agent, takes away what an agent left, its state directory included, and a second one
// finds nothing to do.
func TestCleanup(t *testing.T) {
	if state := os.Getenv(inside); state != "" {
		cleanUp(t, state)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes namespaces")
	}
	const script = `mount --make-rprivate / && mkdir -p /run/netns /run/openvswitch &&
mount -t tmpfs none /run/netns && mount -t tmpfs none /run/openvswitch && exec "$0" -test.run='^TestCleanup$' -test.v`
	cmd := exec.Command("unshare", "--net", "--mount", "sh", "-c", script, os.Args[0])
	cmd.Env = append(os.Environ(), inside+"="+filepath.Join(t.TempDir(), "sdn-tunnel"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func cleanUp(t *testing.T, state string) {
	left := []string{state, "/run/netns/sdn-tunnel"}
	leave := func() {
		for _, line := range []string{
			"ip netns add sdn-tunnel",
			"ip link add sdntun1 type veth peer name sdntun0 netns sdn-tunnel",
			"ip -n sdn-tunnel tuntap add sdntun-wg mode tun",
			"mkdir " + state, "touch " + state + "/key " + state + "/plan.json",
		} {
			if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
		}
	}
	for _, before := range []func(){func() {}, leave, func() {}} {
		before()
		if err := app().RunContext(t.Context(), []string{"sdn-tunnel-agent", "cleanup", "--attachment=auto", "--state-dir=" + state}); err != nil {
			t.Fatal(err)
		}
		for _, path := range left {
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Errorf("%s is left: %v", path, err)
			}
		}
		if link, err := net.InterfaceByName("sdntun1"); err == nil {
			t.Errorf("link %s is left", link.Name)
		}
	}
}

// TestWait: it ends, well, as soon as it is told to.
func TestWait(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- app().RunContext(ctx, []string{"sdn-tunnel-agent", "wait"}) }()
	select {
	case err := <-done:
		t.Fatalf("ended by itself: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("does not end")
	}
}
