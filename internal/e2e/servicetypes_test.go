package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// serviceTypes are those that a running mesh is taken through, and what is then there of
// each node's Service: its type, or nothing.
var serviceTypes = []struct {
	name, service string
	vars          map[string]any
}{
	{name: "NodePort", service: "NodePort"},
	{name: "HostNetwork"},
	{name: "Static", vars: map[string]any{"static_endpoints": map[string]string{
		"east-1": "192.168.50.11", "east.east-2": "192.168.50.12:5555", "west-1": "192.168.60.11", "west-2": "192.168.60.12"}}},
	{name: "LoadBalancer", service: "LoadBalancer"},
}

// tasksThatChange are the tags of a deploy without the matrix.
const tasksThatChange = "objects,peers,services,workloads"

// serviceTypesChange takes a mesh from each service_type to the next: all pairs pass, a
// second deploy changes nothing, and nothing is left of the type before.
func serviceTypesChange(t *testing.T, l *lab) {
	for i, s := range serviceTypes {
		ok := t.Run(s.name, func(t *testing.T) {
			vars := map[string]any{"service_type": s.name}
			for k, v := range s.vars {
				vars[k] = v
			}
			extra, err := json.Marshal(vars)
			if err != nil {
				t.Fatal(err)
			}
			deploy := []string{"deploy", "-i", l.Inventory, "-e", string(extra), "--tags", tasksThatChange, "--verbose"}
			first := l.tunnel(t, 5*time.Minute, deploy...)
			first.must(t)
			matrix := []string{"verify", "-i", l.Inventory, "--skip-nodes", "--transfer", "1000000"}
			if i < len(serviceTypes)-1 {
				matrix = append(matrix, "--keep") // for the next one
			}
			pairs := l.tunnel(t, 5*time.Minute, matrix...)
			pairs.must(t)
			second := l.tunnel(t, 2*time.Minute, deploy...)
			second.must(t)
			changesNothing(t, second.out)
			for _, c := range clusters {
				l.holdsServices(t, c, s.service)
			}
			t.Logf("deploy: %.1f s, all pairs: %.1f s, second deploy: %.1f s", first.took.Seconds(), pairs.took.Seconds(), second.took.Seconds())
		})
		if !ok {
			return
		}
	}
}

// holdsServices compares the node services of a cluster, and what was announced of its
// nodes, with a type of Service; the empty one is none.
func (l *lab) holdsServices(t *testing.T, cluster, service string) {
	t.Helper()
	var want []string
	for _, n := range nodes {
		if service != "" && strings.HasPrefix(n, cluster+"-") {
			want = append(want, fmt.Sprintf("sdn-tunnel-%s %s", n, service))
		}
	}
	const mine = "-l=sdntunnel.io/node"
	got := l.kubectl(t, cluster, "-n", "sdn-tunnel", "get", "services", mine, "--ignore-not-found",
		"-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.type}{"\n"}{end}`)
	if want := strings.Join(want, "\n"); got != want {
		t.Errorf("services of %s:\n%s\nwant:\n%s", cluster, got, want)
	}
	slices := l.kubectl(t, cluster, "-n", "sdn-tunnel", "get", "endpointslices", mine, "--ignore-not-found", "-o", "name")
	if n := len(strings.Fields(slices)); n != len(want) {
		t.Errorf("%d EndpointSlices in %s, want %d:\n%s", n, cluster, len(want), slices)
	}
	vips := 0
	hosts := strings.Fields(l.kubectl(t, cluster, "get", "tunnelnodes", "-o", "jsonpath={.items[*].spec.endpoint.host}"))
	for _, h := range hosts {
		if strings.HasPrefix(h[strings.LastIndexByte(h, '.')+1:], "2") { // the load balancers' pools are .200 to .250
			vips++
		}
	}
	if want := map[bool]int{true: len(nodes)}[service == "LoadBalancer"]; vips != want || len(hosts) != len(nodes) {
		t.Errorf("the nodes' endpoints in %s are at %v, want %d addresses of load balancers", cluster, hosts, want)
	}
}
