package e2e

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/version"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
)

const unfitWest = `
clusters:
  vars: {ansible_connection: local}
  hosts:
    east: {kubeconfig: "{{.east.Kubeconfig}}", kube_context: east}
    west: {kubeconfig: "{{.west.Kubeconfig}}"}
`

// unfitClusters: each is a cluster that cannot be a member, and nothing is changed
// anywhere.
func unfitClusters(t *testing.T, l *lab) {
	access := l.access(t)
	// deploy tries east with another cluster in place of west.
	deploy := func(t *testing.T, west labCluster, vars string, want ...string) string {
		t.Helper()
		clusters := map[string]labCluster{"east": access["east"], "west": west}
		file := l.inventoryOf(t, unfitWest+vars, clusters)
		l.refusedUntouched(t, file, nil, want...)
		return file
	}
	t.Run("another network type", func(t *testing.T) {
		l.networkType(t, "OVNKubernetes")
		defer l.networkType(t, "OpenShiftSDN")
		l.refusedUntouched(t, l.Inventory, nil,
			`west: networkType: "OVNKubernetes" (OpenShift) is not supported`, "take the cluster out of the inventory")
	})
	t.Run("Kubernetes is too old", func(t *testing.T) {
		west := l.proxy(t, l.admin(t, "west"), map[string]any{"/version": version.Info{Major: "1", Minor: "23", GitVersion: "v1.23.17"}})
		deploy(t, west, "", "west: version: Kubernetes 1.23 is too old", "upgrade the cluster to Kubernetes 1.24 (OpenShift 4.11)")
	})
	t.Run("no node has a host subnet", func(t *testing.T) {
		west := l.proxy(t, l.admin(t, "west"), map[string]any{"/apis/network.openshift.io/v1/hostsubnets": map[string]any{
			"kind": "HostSubnetList", "apiVersion": "network.openshift.io/v1", "items": []any{}}})
		deploy(t, west, "", "west: nodes: none of the 2 nodes has a host subnet", "see that the cluster's pod network runs")
	})

	t.Setenv(apitest.ToolsEnv, l.tools(t))
	empty := l.proxy(t, apitest.Start(t).Config, nil)
	t.Run("an API that tells no networks", func(t *testing.T) {
		deploy(t, empty, "", "cluster west (https://127.0.0.1:", "podCIDRs: the pod networks are not to be found",
			"set pod_cidrs for the cluster in the inventory")
	})
	t.Run("no nodes", func(t *testing.T) {
		want := []string{"west: nodes: the cluster has no nodes; add nodes to the cluster, or take it out of the inventory",
			`west: networkType: "unknown" (Kubernetes) is not supported`}
		inventory := deploy(t, empty, `unfit: {hosts: {west: {pod_cidrs: [10.200.0.0/16], service_cidrs: 10.201.0.0/16}}}`, want...)
		plan := l.tunnel(t, time.Minute, "plan", "-i", inventory)
		if plan.code != 2 || !strings.Contains(plan.out, want[0]) || !strings.Contains(plan.out, " 10.200.0.0/16 ") {
			t.Errorf("plan: exit %d, want 2 and the same:\n%s", plan.code, plan.out)
		}
	})
}

// networkType makes west say that it has another pod network, or the one it has.
func (l *lab) networkType(t *testing.T, kind string) {
	t.Helper()
	l.kubectl(t, "west", "patch", "networks.config.openshift.io", "cluster", "--type=merge",
		"-p", `{"spec":{"networkType":"`+kind+`"},"status":{"networkType":"`+kind+`"}}`)
}

// tools is the folder with the programs of the lab's clusters.
func (l *lab) tools(t *testing.T) string {
	t.Helper()
	r := l.run(t, time.Minute, "lab", "tools", "--print")
	r.must(t)
	return strings.TrimSpace(r.out)
}
