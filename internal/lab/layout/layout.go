package layout

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
)

// Ports and sizes that are the same in every lab.
const (
	APIPort    = 6443 // kube-apiserver
	OAuthPort  = 8443 // the OAuth front: an OpenShift-like API URL
	HostPrefix = 23   // prefix length of a node's host subnet
	MTU        = 1450 // of pods and tun0: the underlay's 1500 less VXLAN's overhead

	MaxClusters = 8
	MaxNodes    = 32
)

// SDN modes, as OpenShift names them.
const (
	ModeMultitenant   = "multitenant"
	ModeNetworkPolicy = "networkpolicy"
	ModeSubnet        = "subnet"
)

// Config is what a user chooses.
type Config struct {
	Name     string // instance name, a short DNS label
	Clusters int
	Nodes    int // per cluster
	SDNMode  string
	StateDir string // the instance's own folder
	// Joined has the numbers of the nodes of clusters that are not as they came up: nodes
	// joined or left.
	Joined map[string][]int `json:",omitempty"`
}

// Lab is everything that follows from a Config.
type Lab struct {
	Config
	Clusters []Cluster
	Operator netip.Prefix // address of the operator's namespace
	Gateway  netip.Addr   // the router's address on the operator's segment
}

// Cluster is one member.
type Cluster struct {
	Name         string
	Index        int
	Underlay     netip.Prefix // segment of the cluster's nodes
	Router       netip.Addr
	ControlPlane netip.Addr
	Pods         netip.Prefix
	Services     netip.Prefix
	VIPFirst     netip.Addr
	VIPLast      netip.Addr
	// DNSOperator: the cluster's own DNS is kept by OpenShift's DNS operator; elsewhere it
	// is a CoreDNS in kube-system. A lab has both.
	DNSOperator bool
	Nodes       []Node
}

// Node is one worker.
type Node struct {
	Name       string // also its host name
	Cluster    string
	Index      int // from 1
	Address    netip.Addr
	HostSubnet netip.Prefix
}

var clusterNames = []string{"east", "west", "north", "south", "center", "coast", "hill", "lake"}

var nameRE = regexp.MustCompile(`^[a-z]([a-z0-9]{0,11})$`)

// New lays a lab out, or says which part of the Config cannot be.
func New(c Config) (*Lab, error) {
	switch {
	case !nameRE.MatchString(c.Name):
		return nil, fmt.Errorf("lab name %q: use 1 to 12 letters and digits, a letter first", c.Name)
	case c.Clusters < 1 || c.Clusters > MaxClusters:
		return nil, fmt.Errorf("%d clusters: use 1 to %d", c.Clusters, MaxClusters)
	case c.Nodes < 1 || c.Nodes > MaxNodes:
		return nil, fmt.Errorf("%d nodes per cluster: use 1 to %d", c.Nodes, MaxNodes)
	case c.SDNMode != ModeMultitenant && c.SDNMode != ModeNetworkPolicy && c.SDNMode != ModeSubnet:
		return nil, fmt.Errorf("SDN mode %q: use %s, %s or %s", c.SDNMode, ModeNetworkPolicy, ModeMultitenant, ModeSubnet)
	}
	l := &Lab{
		Config:   c,
		Operator: netip.MustParsePrefix("192.168.40.2/24"),
		Gateway:  netip.MustParseAddr("192.168.40.1"),
	}
	for i := range c.Clusters {
		numbers, changed := c.Joined[clusterNames[i]]
		for n := 1; n <= c.Nodes && !changed; n++ {
			numbers = append(numbers, n)
		}
		for _, n := range numbers {
			if n < 1 || n > MaxNodes {
				return nil, fmt.Errorf("node %d of cluster %s: use 1 to %d", n, clusterNames[i], MaxNodes)
			}
		}
		l.Clusters = append(l.Clusters, newCluster(i, numbers))
	}
	return l, nil
}

// Join gives the lab with one more node in a cluster, the lowest number that is free.
func (l *Lab) Join(cluster string) (*Lab, Node, error) {
	c, ok := l.Cluster(cluster)
	if !ok {
		return nil, Node{}, fmt.Errorf("lab %s has no cluster %q", l.Name, cluster)
	}
	number, numbers := 1, c.numbers()
	for slices.Contains(numbers, number) {
		number++
	}
	more, err := l.with(cluster, append(numbers, number))
	if err != nil {
		return nil, Node{}, err
	}
	_, n, _ := more.Node(nodeName(cluster, number))
	return more, n, nil
}

// Leave gives the lab without a node. A cluster keeps at least one.
func (l *Lab) Leave(node string) (*Lab, error) {
	c, n, ok := l.Node(node)
	if !ok {
		return nil, fmt.Errorf("lab %s has no node %q", l.Name, node)
	}
	if len(c.Nodes) == 1 {
		return nil, fmt.Errorf("%s is the last node of cluster %s: a cluster of the lab has one at least", node, c.Name)
	}
	return l.with(c.Name, slices.DeleteFunc(c.numbers(), func(i int) bool { return i == n.Index }))
}

func (l *Lab) with(cluster string, numbers []int) (*Lab, error) {
	c := l.Config
	c.Joined = maps.Clone(c.Joined)
	if c.Joined == nil {
		c.Joined = map[string][]int{}
	}
	slices.Sort(numbers)
	c.Joined[cluster] = numbers
	return New(c)
}

func (c Cluster) numbers() []int {
	out := make([]int, len(c.Nodes))
	for i, n := range c.Nodes {
		out[i] = n.Index
	}
	return out
}

func nodeName(cluster string, number int) string { return fmt.Sprintf("%s-%d", cluster, number) }

func newCluster(i int, numbers []int) Cluster {
	under := func(host int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, byte(50 + 10*i), byte(host)}) }
	c := Cluster{
		Name:         clusterNames[i],
		Index:        i,
		Underlay:     netip.PrefixFrom(under(0), 24),
		Router:       under(1),
		ControlPlane: under(10),
		Pods:         netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(128 + 4*i), 0, 0}), 14),
		Services:     netip.PrefixFrom(netip.AddrFrom4([4]byte{172, serviceOctet(i), 0, 0}), 16),
		VIPFirst:     under(200),
		VIPLast:      under(250),
		DNSOperator:  i%2 == 0,
	}
	for _, n := range numbers {
		c.Nodes = append(c.Nodes, Node{
			Name:       nodeName(c.Name, n),
			Cluster:    c.Name,
			Index:      n,
			Address:    under(10 + n),
			HostSubnet: hostSubnet(c.Pods, n-1),
		})
	}
	return c
}

// serviceOctet gives 30, 31, 29, 28 …: inside 172.16.0.0/12, never twice.
func serviceOctet(i int) byte {
	if i < 2 {
		return byte(30 + i)
	}
	return byte(31 - i)
}

// hostSubnet is the n-th /23 of the cluster's pods, in the order in which the SDN's
// controller hands them out.
func hostSubnet(pods netip.Prefix, n int) netip.Prefix {
	a := pods.Addr().As4()
	a[1] += byte(n >> 7)
	a[2] += byte(n << 1)
	return netip.PrefixFrom(netip.AddrFrom4(a), HostPrefix)
}

// ServiceAddress is the n-th address of the cluster's service network: 1 is the
// API server's, 10 the DNS server's.
func (c Cluster) ServiceAddress(n int) netip.Addr {
	a := c.Services.Addr().As4()
	a[3] += byte(n)
	return netip.AddrFrom4(a)
}

// PodGateway is the address of tun0 on the node.
func (n Node) PodGateway() netip.Addr { return n.HostSubnet.Addr().Next() }

// APIURL is the API server's address.
func (c Cluster) APIURL() string { return fmt.Sprintf("https://%s:%d", c.ControlPlane, APIPort) }

// OAuthURL is the address that serves the API with OpenShift's OAuth in front.
func (c Cluster) OAuthURL() string { return fmt.Sprintf("https://%s:%d", c.ControlPlane, OAuthPort) }

// Cluster finds a cluster by name.
func (l *Lab) Cluster(name string) (Cluster, bool) {
	for _, c := range l.Clusters {
		if c.Name == name {
			return c, true
		}
	}
	return Cluster{}, false
}

// Node finds a node, and its cluster, by the node's name.
func (l *Lab) Node(name string) (Cluster, Node, bool) {
	for _, c := range l.Clusters {
		for _, n := range c.Nodes {
			if n.Name == name {
				return c, n, true
			}
		}
	}
	return Cluster{}, Node{}, false
}

// RouterNS names the network namespace of the router between the segments.
func (l *Lab) RouterNS() string { return l.Name + "-router" }

// OperatorNS names the network namespace that people work from.
func (l *Lab) OperatorNS() string { return l.Name + "-operator" }

// ControlPlaneNS names the network namespace of a cluster's control plane.
func (l *Lab) ControlPlaneNS(c Cluster) string { return l.Name + "-" + c.Name + "-cp" }

// NodeNS names a node's network namespace.
func (l *Lab) NodeNS(n Node) string { return l.Name + "-" + n.Name }

// Namespaces lists every network namespace of the lab.
func (l *Lab) Namespaces() []string {
	all := []string{l.RouterNS(), l.OperatorNS()}
	for _, c := range l.Clusters {
		all = append(all, l.ControlPlaneNS(c))
		for _, n := range c.Nodes {
			all = append(all, l.NodeNS(n))
		}
	}
	return all
}
