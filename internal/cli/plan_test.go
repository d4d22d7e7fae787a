package cli

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshplan"
)

// TestPlanSaysThatItIsWell: a plan without conflicts says so, with networks as people write them.
func TestPlanSaysThatItIsWell(t *testing.T) {
	facts := meshplan.Facts{Name: "east", Major: 1, Minor: 36, NetworkType: "OpenShiftSDN", PodCIDRs: []netip.Prefix{
		netip.MustParsePrefix("10.128.0.0/14"), netip.MustParsePrefix("fd01::/48")}}
	in := meshplan.Input{Clusters: []meshplan.Facts{facts}}
	for _, c := range []struct {
		conflicts []meshplan.Conflict
		well      bool
	}{{nil, true}, {[]meshplan.Conflict{{Cluster: "east", Field: "podCIDRs"}}, false}} {
		var out strings.Builder
		if err := writePlan(&out, in, meshplan.Plan{}, c.conflicts); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); strings.Contains(got, "no conflicts") != c.well || !strings.Contains(got, " 10.128.0.0/14,fd01::/48  -  ") {
			t.Errorf("%v:\n%s", c.conflicts, got)
		}
	}
}
