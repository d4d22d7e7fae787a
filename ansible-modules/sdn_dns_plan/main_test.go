package main

import (
	"strings"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/sidecar"
)

// TestDocumentation: what ansible-doc shows is what the module takes.
func TestDocumentation(t *testing.T) { sidecar.Check[Args](t, "sdn_dns_plan") }

// TestRun: objects as sdn_mesh_plan returns them become a Corefile.
func TestRun(t *testing.T) {
	object := func(name, zone, pods string) any {
		return map[string]any{"apiVersion": "sdntunnel.io/v1alpha1", "kind": "LinkedCluster", "metadata": map[string]any{"name": name},
			"spec": map[string]any{"dnsZone": zone, "podCIDRs": []any{pods}, "tunnelCIDR": "100.127.0.0/22"}}
	}
	args := Args{Cluster: "east", LinkedClusters: []any{object("east", "cluster.east", "10.128.0.0/14"), object("west", "cluster.west", "10.132.0.0/16")}}
	r, err := run(t.Context(), module.Call{}, args)
	if err != nil {
		t.Fatal(err)
	}
	corefile, _ := r.Data["corefile"].(string)
	if r.Changed || !strings.Contains(corefile, "kubernetes cluster.west 132.10.in-addr.arpa {") || r.Data["hash"] == "" {
		t.Errorf("got %+v", r)
	}
	args.LinkedClusters = append(args.LinkedClusters, object("north", "cluster.west", "10.136.0.0/14"))
	if _, err := run(t.Context(), module.Call{}, args); err == nil || !strings.Contains(err.Error(), "is that of cluster north, too") {
		t.Errorf("a zone for two: %v", err)
	}
	args.LinkedClusters = []any{"nonsense"}
	if _, err := run(t.Context(), module.Call{}, args); err == nil || !strings.Contains(err.Error(), "linked_clusters") {
		t.Errorf("nonsense: %v", err)
	}
	if err := (&Args{Cluster: "east"}).Validate(); err == nil || !strings.Contains(err.Error(), "linked_clusters or access") {
		t.Errorf("neither objects nor access: %v", err)
	}
}
