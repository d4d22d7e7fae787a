package dataplane

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// testClamp has pods talk TCP whose own MTU is larger than the tunnel's, and looks at
// what the other end gets.
func testClamp(t *testing.T, w *world) {
	client, server := w.pod("east-2", open), w.pod("west-1", open)
	for _, p := range []*pod{client, server} {
		p.watchSegments(t)
	}
	if _, err := ask(client.network(), "tcp4", server, patience); err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprint(tunnelMTU(underlayMTU) - 40)}
	if got := server.segments(t); !slices.Equal(got, want) {
		t.Errorf("the SYN that the server got says segments of %v, want %v", got, want)
	}
	if got := client.segments(t); !slices.Equal(got, want) {
		t.Errorf("the SYN ACK that the client got says segments of %v, want %v", got, want)
	}
}

// nft runs nft in the pod.
func (p *pod) nft(t *testing.T, rules string) string {
	t.Helper()
	return sh(t, exec.Command("nsenter", "--net="+p.node.w.netns(p.name), "nft", rules))
}

// watchSegments keeps the maximum segment sizes of the SYNs that come to the pod.
func (p *pod) watchSegments(t *testing.T) {
	t.Helper()
	p.nft(t, `add table ip watch
add set ip watch segments { typeof tcp option maxseg size; flags dynamic; size 16; }
add chain ip watch in { type filter hook prerouting priority 0; }
add rule ip watch in tcp flags & syn == syn add @segments { tcp option maxseg size }`)
	t.Cleanup(func() { p.nft(t, "delete table ip watch") })
}

var elements = regexp.MustCompile(`elements = \{([^}]*)\}`)

func (p *pod) segments(t *testing.T) []string {
	t.Helper()
	m := elements.FindStringSubmatch(p.nft(t, "list set ip watch segments"))
	if m == nil {
		return nil
	}
	return regexp.MustCompile(`\d+`).FindAllString(m[1], -1)
}

// testTooBig has pods send what fits their own MTU but not the tunnel's, and must not be
// fragmented: each gets told, by its node's tunnel address.
func testTooBig(t *testing.T, w *world) {
	to := w.pod("west-1", open)
	for _, from := range []*pod{w.pod("east-1", open), w.pod("east-2", isolated), w.pod("west-1", isolated)} {
		if from.node.cluster == to.node.cluster {
			to = w.pod("east-1", open)
		}
		said := tooBig(from.network(), to)
		want := fmt.Sprintf("From %s icmp_seq=1 Frag needed and DF set (mtu = %d)", from.node.tunnel, tunnelMTU(underlayMTU))
		if !regexp.MustCompile(regexp.QuoteMeta(want)).MatchString(said) {
			t.Errorf("%s sent %d bytes and was told\n%s\nwant %q", from.name, podMTU, said, want)
		}
	}
	// The node knows without being told: its route says so.
	said := tooBig(w.node("east-1").network(), w.pod("west-1", open))
	if want := fmt.Sprintf("message too long, mtu=%d", tunnelMTU(underlayMTU)); !regexp.MustCompile(want).MatchString(said) {
		t.Errorf("the node sent %d bytes and was told\n%s\nwant %q", podMTU, said, want)
	}
	// What just fits passes.
	p := exec.Command("nsenter", "--net="+w.netns(w.pod("east-1", open).name), "ping", "-M", "do", "-c1", "-W60", "-s", fmt.Sprint(tunnelMTU(underlayMTU)-28), w.pod("west-1", open).ip.String())
	sh(t, p)
}

// tooBig is what ping(8) says of a packet as large as the pods' MTU, not to be fragmented.
func tooBig(from tunnelns.Namespace, to *pod) string {
	out, _ := exec.Command("nsenter", "--net="+from.Path(), "ping", "-M", "do", "-c1", "-W20", "-s", fmt.Sprint(podMTU-28), to.ip.String()).CombinedOutput()
	return string(out)
}
