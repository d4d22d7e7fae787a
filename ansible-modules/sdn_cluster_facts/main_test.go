package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/sidecar"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshplan"
)

// TestDocumentation: what ansible-doc shows is what the module takes.
func TestDocumentation(t *testing.T) { sidecar.Check[Args](t, "sdn_cluster_facts") }

// TestNetworksOfTheInventory: an API that tells no networks is refused with a remedy,
// and following the remedy is enough.
func TestNetworksOfTheInventory(t *testing.T) {
	s := apitest.Start(t)
	args := Args{Name: "east", Access: cluster.Access{Kubeconfig: s.Kubeconfig(t, s.Config)}, Timeout: 30}
	_, err := run(t.Context(), module.Call{}, args)
	if err == nil || !strings.Contains(err.Error(), "cluster east") || !strings.Contains(err.Error(), "set pod_cidrs") {
		t.Fatalf("without pod_cidrs: %v", err)
	}
	args.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.128.0.0/14")}
	args.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("172.30.0.0/16")}
	result, err := run(t.Context(), module.Call{}, args)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := result.Data["facts"].(meshplan.Facts)
	if !ok || !slices.Equal(got.PodCIDRs, args.PodCIDRs) || !slices.Equal(got.ServiceCIDRs, args.ServiceCIDRs) {
		t.Errorf("facts %+v", result.Data["facts"])
	}
}
