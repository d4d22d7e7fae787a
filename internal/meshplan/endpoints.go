package meshplan

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// endpoints says for each cluster, in order, how its nodes' tunnels are reached.
func (p *planner) endpoints() [][]NodeService {
	static := p.staticEndpoints()
	out := make([][]NodeService, len(p.clusters))
	seen := map[string]string{} // host:port -> node
	for i := range p.clusters {
		c := &p.clusters[i]
		p.checkNodePorts(c)
		out[i] = []NodeService{}
		for j := range c.Nodes {
			n := &c.Nodes[j]
			s := NodeService{Node: n.Name, Type: p.options.ServiceType, Port: p.options.TunnelPort, HostSubnets: n.HostSubnets}
			switch p.options.ServiceType {
			case NodePort:
				if p.options.NodePort != 0 {
					s.NodePort = p.options.NodePort + uint16(j)
				}
			case HostNetwork:
				s.Host = outerAddress(n)
			case Static:
				e, ok := static[c.Name+"."+n.Name]
				if !ok {
					p.conflict(c.Name, "static_endpoints", "add it: <cluster>.<node>: <address>[:<port>]", "node %s is not in the map", n.Name)
				}
				s.Host = e.host
				if e.port != 0 {
					s.Port = e.port
				}
			}
			p.unique(c, &s, seen)
			out[i] = append(out[i], s)
		}
	}
	return out
}

// unique refuses an endpoint that another node has.
func (p *planner) unique(c *Facts, s *NodeService, seen map[string]string) {
	if s.Host == "" {
		return
	}
	at, name := net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))), c.Name+"."+s.Node
	if other, taken := seen[at]; taken {
		p.conflict(c.Name, "nodes["+s.Node+"].endpoint", "give each node an address or a port of its own, or use service_type LoadBalancer",
			"%s is the endpoint of %s already", at, other)
		return
	}
	seen[at] = name
}

// outerAddress is the address by which a node is reached directly; InternalIPs may be
// private, then nobody outside reaches it, but only the operator can know.
func outerAddress(n *Node) string {
	for _, list := range [][]netip.Addr{n.ExternalIPs, n.InternalIPs} {
		for _, a := range list {
			if a.Is4() {
				return a.String()
			}
		}
	}
	return ""
}

func (p *planner) checkNodePorts(c *Facts) {
	o := p.options
	if o.ServiceType != NodePort || o.NodePort == 0 || len(c.Nodes) == 0 {
		return
	}
	last := int(o.NodePort) + len(c.Nodes) - 1
	if o.NodePort < o.NodePortFirst || last > int(o.NodePortLast) {
		p.conflict(c.Name, "node_port", "choose a first port that leaves room, or 0: the API server chooses",
			"ports %d-%d for %d nodes are outside %d-%d", o.NodePort, last, len(c.Nodes), o.NodePortFirst, o.NodePortLast)
	}
}

// hostPort is an endpoint that the operator named.
type hostPort struct {
	host string
	port uint16
}

// staticEndpoints reads the map of the options; keys of the result are <cluster>.<node>.
func (p *planner) staticEndpoints() map[string]hostPort {
	if p.options.ServiceType != Static {
		return nil
	}
	nodes := map[string][]string{} // by either name -> <cluster>.<node>
	for i := range p.clusters {
		c := &p.clusters[i]
		for _, n := range c.Nodes {
			full := c.Name + "." + n.Name
			for _, name := range []string{n.Name, full} {
				if !slices.Contains(nodes[name], full) {
					nodes[name] = append(nodes[name], full)
				}
			}
		}
	}
	out, qualified := map[string]hostPort{}, map[string]bool{}
	for _, key := range sortedKeys(p.options.StaticEndpoints) {
		field := "static_endpoints[" + key + "]"
		found := nodes[key]
		if slices.Contains(found, key) {
			found = []string{key}
		}
		if len(found) == 0 {
			p.conflict("", field, "correct or remove it; names are <cluster>.<node>", "no cluster has a node of this name")
			continue
		}
		if len(found) > 1 {
			p.conflict("", field, "write <cluster>.<node>", "the name stands for %s", strings.Join(found, " and "))
			continue
		}
		e, err := parseHostPort(p.options.StaticEndpoints[key])
		if err != nil {
			p.conflict("", field, "give an IPv4 address or DNS name, and :port if it is not the tunnel's", "%v", err)
		}
		if !qualified[found[0]] {
			out[found[0]] = e
		}
		qualified[found[0]] = qualified[found[0]] || key == found[0]
	}
	return out
}

func parseHostPort(s string) (hostPort, error) {
	host, port, ok := strings.Cut(s, ":")
	e := hostPort{host: strings.ToLower(host)}
	if ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return hostPort{}, fmt.Errorf("%q: %q is not a port", s, port)
		}
		e.port = uint16(n)
	}
	if a, err := netip.ParseAddr(e.host); err == nil && a.Is4() {
		return e, nil
	}
	if !dnsName.MatchString(e.host) || len(e.host) > 253 || numeric(e.host) {
		return hostPort{}, fmt.Errorf("%q is neither an IPv4 address nor a DNS name", s)
	}
	return e, nil
}

// numeric tells whether the last label is a number: then it is a mistyped address, for no
// top-level domain is.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 10, 64)
	return err == nil
}
