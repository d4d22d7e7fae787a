package nodepath

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// TestRoutes: pods and services of the other members are reached by the tunnel address,
// with the gateway as source and an MTU that neither the tunnel nor the link exceeds.
func TestRoutes(t *testing.T) {
	prefixes := func(all ...string) (out []netip.Prefix) {
		for _, p := range all {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	gw := Gateway{Link: &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{MTU: 1450}}, Address: netip.MustParseAddr("10.128.0.1")}
	dp := mesh.DataPlane{TunnelAddress: netip.MustParseAddr("100.127.0.1"),
		Remote: prefixes("10.132.0.0/14", "fd02::/48"), RemoteService: prefixes("172.31.0.0/16", "fd03::/112"), RemoteTunnel: prefixes("100.127.4.0/22")}
	show := func(dp mesh.DataPlane, mtu int) (out []string) {
		for _, r := range routes(dp, gw, mtu) {
			out = append(out, r.String())
		}
		return out
	}
	const way = " via 100.127.0.1 src 10.128.0.1 mtu "
	if got, want := show(dp, 1370), []string{"10.132.0.0/14" + way + "1370", "172.31.0.0/16" + way + "1370"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := show(dp, 9000)[0], "10.132.0.0/14"+way+"1450"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	dp.TunnelAddress = netip.Addr{}
	if got := show(dp, 1370); got != nil {
		t.Errorf("without a tunnel address: %q", got)
	}
}
