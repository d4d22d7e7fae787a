// Package servicetest has what tests of the proxies of remote services share: a world of
// namespaces with clients, the tunnel namespace of their node and the pods of two other
// clusters; mirrors of those clusters' services; and the loop in which an agent applies. It
// knows no proxy. Only tests import it.
package servicetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// Addresses of the two clients, and of services: of west one with and one without
// endpoints, and one of north.
const (
	ClientIP = "10.128.0.5"
	OtherIP  = "10.128.0.6"
	VIP      = "172.31.4.5"
	EmptyVIP = "172.31.4.9"
	NorthVIP = "172.29.4.5"
)

// Networks are those that nettest serves and asks by.
var Networks = []string{"tcp4", "udp4"}

// World is a client's pod, the tunnel namespace of its node, and two remote clusters:
//
//	pod 10.128.0.5, .6 -- sdntun0 [tunnel] wg0 -- 10.132.0.1, .2 … west, 10.136.0.1 … north
type World struct {
	nettest.Client      // from the pod
	Pod, Tunnel, Remote tunnelns.Namespace
}

// NewWorld makes a world that goes with the test. All names in it begin with id; a client
// waits so long for a connection.
func NewWorld(tb testing.TB, id string, wait time.Duration) World {
	tb.Helper()
	namespace := func(suffix string) tunnelns.Namespace {
		return tunnelns.At(nettest.Namespace(tb, fmt.Sprintf("%s-%d%s", id, os.Getpid(), suffix)))
	}
	w := World{Pod: namespace("c"), Tunnel: namespace("t"), Remote: namespace("r")}
	w.Client = nettest.Client{From: w.Pod, Wait: wait}
	nettest.Sh(tb, `set -e
		ip -n %[1]s link add eth0 type veth peer name sdntun0 netns %[2]s
		ip -n %[2]s link add wg0 type veth peer name eth0 netns %[3]s
		ip -n %[1]s addr add 10.128.0.5/24 dev eth0; ip -n %[1]s addr add 10.128.0.6/24 dev eth0
		ip -n %[2]s addr add 10.128.0.1/24 dev sdntun0; ip -n %[2]s addr add 192.0.2.1/24 dev wg0
		ip -n %[2]s addr add 100.127.0.9/32 dev lo
		ip -n %[3]s addr add 192.0.2.2/24 dev eth0
		for i in 1 2 3 4; do ip -n %[3]s addr add 10.132.0.$i/32 dev eth0; ip -n %[3]s addr add 10.136.0.$i/32 dev eth0; done
		ip -n %[1]s link set eth0 up; ip -n %[2]s link set sdntun0 up; ip -n %[2]s link set wg0 up; ip -n %[3]s link set eth0 up
		ip -n %[1]s route add default via 10.128.0.1; ip -n %[3]s route add default via 192.0.2.1
		ip -n %[2]s route add 10.132.0.0/14 via 192.0.2.2; ip -n %[2]s route add 10.136.0.0/14 via 192.0.2.2
		nsenter --net=/run/netns/%[2]s sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'`, Name(w.Pod), Name(w.Tunnel), Name(w.Remote))
	return w
}

// Name is what ip(8) calls a namespace.
func Name(n tunnelns.Namespace) string { return filepath.Base(n.Path()) }

// Refused fails the test unless who asks there is refused at once. On UDP the error is an ICMP
// error that belongs to the socket, so its packet names the service.
func (w World) Refused(tb testing.TB, what, to string) {
	tb.Helper()
	for _, network := range Networks {
		began := time.Now()
		c, err := w.Dial(network, ClientIP, to)
		if err == nil {
			_, _, err = c.Ask()
			c.Close()
		}
		if took := time.Since(began); !errors.Is(err, unix.ECONNREFUSED) || took > 2*time.Second {
			tb.Errorf("%s, %s: %v after %s; want it refused at once", what, network, err, took)
		}
	}
}
