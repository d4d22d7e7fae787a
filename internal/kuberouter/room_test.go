package kuberouter

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
)

// standIn is a program in the place of kube-router, for kernels without IPVS: nftables
// translates for it, and like kube-router it leaves that behind.
func standIn(t testing.TB, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kube-router")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

var translate = `ip rule add pref 32765 lookup 79
nft -f - <<'END'
table ip stand-in
delete table ip stand-in
table ip stand-in {
	chain translate { type nat hook prerouting priority dstnat;
		ip daddr 172.31.4.5 meta l4proto { tcp, udp } th dport 80 dnat to 10.132.0.1:8080
		ip daddr 172.29.4.5 meta l4proto { tcp, udp } th dport 80 dnat to 10.136.0.1:8080
	}
}
END
exec sleep 1000.` + strconv.Itoa(os.Getpid()) + "\n"

// TestWay: what clients send to a member's services passes its namespace, and what comes
// back does, too; nothing else does. It is the same with two members at once.
func TestWay(t *testing.T) {
	w := newWorld(t, standIn(t, translate))
	nettest.Serve(t, w.Remote, "10.132.0.1", "10.136.0.1")
	w.start(t)
	w.part.Replace(nil)
	nettest.Eventually(t, time.Minute, "both stand-ins have begun", func() bool {
		for _, to := range []string{vip, northVIP} {
			c, err := w.Dial("tcp4", clientIP, to)
			if err != nil {
				return false
			}
			c.Close()
		}
		return true
	})
	for _, network := range networks {
		for to, want := range map[string]string{vip: "10.132.0.1", northVIP: "10.136.0.1", "10.132.0.1:8080": "10.132.0.1"} {
			if got := w.Once(t, network, clientIP, to); got != want {
				t.Errorf("%s to %s: answered by %s", network, to, got)
			}
		}
		for what, to := range map[string]string{"unknown address": "172.31.200.200", "unknown port": vip + ":81"} {
			began := time.Now()
			c, err := w.Dial(network, clientIP, to)
			if err == nil {
				_, _, err = c.Ask()
				c.Close()
			}
			if took := time.Since(began); !errors.Is(err, unix.ECONNREFUSED) || took > 3*time.Second {
				t.Errorf("%s, %s: %v after %s; want it refused at once", what, network, err, took)
			}
		}
	}
	if changes := w.apply(t); len(changes) > 0 {
		t.Errorf("a second Apply changes %q", changes)
	}
	t.Run("too big", func(t *testing.T) { tooBig(t, w) })
	t.Run("only clients", func(t *testing.T) {
		backwards := nettest.Client{From: w.Remote, Wait: w.Wait}
		if c, err := backwards.Dial("tcp4", "10.132.0.4", northVIP); err == nil {
			c.Close()
			t.Error("a remote pod reached the service of another cluster by way of this one")
		}
	})
	t.Run("nothing left", func(t *testing.T) {
		nothingLeft(t, w)
		if out := nettest.Sh(t, "ps axo args | grep -c '[s]leep 1000.%d' || true", os.Getpid()); strings.TrimSpace(out) != "0" {
			t.Errorf("%s stand-ins are left", strings.TrimSpace(out))
		}
	})
}
