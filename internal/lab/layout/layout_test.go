package layout

import (
	"net/netip"
	"strings"
	"testing"
)

func newLab(t *testing.T, clusters, nodes int) *Lab {
	t.Helper()
	l, err := New(Config{Name: "lab", Clusters: clusters, Nodes: nodes, SDNMode: ModeNetworkPolicy})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTwoClusters(t *testing.T) {
	l := newLab(t, 2, 2)
	east, west := l.Clusters[0], l.Clusters[1]
	for _, tc := range []struct{ what, got, want string }{
		{"east's API", east.APIURL(), "https://192.168.50.10:6443"},
		{"west's login", west.OAuthURL(), "https://192.168.60.10:8443"},
		{"east's pods", east.Pods.String(), "10.128.0.0/14"},
		{"west's services", west.Services.String(), "172.31.0.0/16"},
		{"east's DNS", east.ServiceAddress(10).String(), "172.30.0.10"},
		{"west's first VIP", west.VIPFirst.String(), "192.168.60.200"},
		{"east-2's address", east.Nodes[1].Address.String(), "192.168.50.12"},
		{"east-2's host subnet", east.Nodes[1].HostSubnet.String(), "10.128.2.0/23"},
		{"west-1's gateway", west.Nodes[0].PodGateway().String(), "10.132.0.1"},
		{"west-1's namespace", l.NodeNS(west.Nodes[0]), "lab-west-1"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %s, want %s", tc.what, tc.got, tc.want)
		}
	}
}

// TestNothingOverlaps holds the largest lab to what the product needs of clusters:
// no two networks in it have an address in common.
func TestNothingOverlaps(t *testing.T) {
	l := newLab(t, MaxClusters, MaxNodes)
	networks := map[string]netip.Prefix{"operator": l.Operator.Masked()}
	for _, c := range l.Clusters {
		networks[c.Name+" underlay"], networks[c.Name+" pods"], networks[c.Name+" services"] = c.Underlay, c.Pods, c.Services
		seen := map[netip.Prefix]string{}
		for _, n := range c.Nodes {
			if other := seen[n.HostSubnet]; other != "" || !c.Pods.Contains(n.HostSubnet.Addr()) {
				t.Errorf("%s: host subnet %s is outside %s or also %s's", n.Name, n.HostSubnet, c.Pods, other)
			}
			seen[n.HostSubnet] = n.Name
			if !c.Underlay.Contains(n.Address) || n.Address.Compare(c.VIPFirst) >= 0 {
				t.Errorf("%s: address %s is outside %s or a VIP", n.Name, n.Address, c.Underlay)
			}
		}
	}
	for a, pa := range networks {
		for b, pb := range networks {
			if a < b && pa.Overlaps(pb) {
				t.Errorf("%s %s overlaps %s %s", a, pa, b, pb)
			}
		}
	}
}

func TestBadConfig(t *testing.T) {
	good := Config{Name: "lab", Clusters: 2, Nodes: 2, SDNMode: ModeMultitenant}
	for name, tc := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"name with a dash":  {func(c *Config) { c.Name = "a-b" }, "lab name"},
		"empty name":        {func(c *Config) { c.Name = "" }, "lab name"},
		"no clusters":       {func(c *Config) { c.Clusters = 0 }, "clusters"},
		"too many clusters": {func(c *Config) { c.Clusters = MaxClusters + 1 }, "clusters"},
		"no nodes":          {func(c *Config) { c.Nodes = 0 }, "nodes"},
		"too many nodes":    {func(c *Config) { c.Nodes = MaxNodes + 1 }, "nodes"},
		"unknown mode":      {func(c *Config) { c.SDNMode = "ovn" }, "SDN mode"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			tc.change(&c)
			if _, err := New(c); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("New = %v, want an error about %q", err, tc.says)
			}
		})
	}
}

func TestFind(t *testing.T) {
	l := newLab(t, 3, 1)
	if c, n, ok := l.Node("north-1"); !ok || c.Name != "north" || n.Index != 1 {
		t.Errorf("Node(north-1) = %v %v %v", c.Name, n.Index, ok)
	}
	if _, _, ok := l.Node("north-2"); ok {
		t.Error("found north-2 in a lab of one node per cluster")
	}
	if _, ok := l.Cluster("south"); ok {
		t.Error("found a fourth cluster of three")
	}
	if got := len(l.Namespaces()); got != 2+3*2 {
		t.Errorf("%d namespaces", got)
	}
}

// TestNodesJoinAndLeave: who stays keeps name, address and subnet; the lowest free number
// is given out again, as OpenShift SDN does with subnets.
func TestNodesJoinAndLeave(t *testing.T) {
	l := newLab(t, 2, 2)
	names := func(l *Lab) string {
		var all []string
		for _, c := range l.Clusters {
			for _, n := range c.Nodes {
				all = append(all, n.Name+" "+n.Address.String()+" "+n.HostSubnet.String())
			}
		}
		return strings.Join(all, ", ")
	}
	before := names(l)
	more, n, err := l.Join("east")
	if err != nil || n.Name != "east-3" || n.Address.String() != "192.168.50.13" || n.HostSubnet.String() != "10.128.4.0/23" {
		t.Fatalf("joined %+v, %v", n, err)
	}
	less, err := more.Leave("east-2")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(less), "east-1 192.168.50.11 10.128.0.0/23, east-3 192.168.50.13 10.128.4.0/23, "+
		"west-1 192.168.60.11 10.132.0.0/23, west-2 192.168.60.12 10.132.2.0/23"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if names(l) != before {
		t.Errorf("the lab of before has changed: %s", names(l))
	}
	again, n, err := less.Join("east")
	if err != nil || n.Name != "east-2" {
		t.Errorf("joined %s, %v", n.Name, err)
	}
	if one, err := again.Leave("west-1"); err != nil {
		t.Error(err)
	} else if _, err := one.Leave("west-2"); err == nil || !strings.Contains(err.Error(), "last node") {
		t.Errorf("the last node leaves: %v", err)
	}
	for _, err := range []error{second(l.Join("north")), onlyError(l.Leave("east-9"))} {
		if err == nil || !strings.Contains(err.Error(), "has no") {
			t.Errorf("got %v", err)
		}
	}
}

func second(_ *Lab, _ Node, err error) error { return err }
func onlyError(_ *Lab, err error) error      { return err }
