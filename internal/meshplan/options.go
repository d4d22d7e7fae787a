package meshplan

import (
	"cmp"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// Defaults of the options.
const (
	DefaultTunnelPort = 5555
	DefaultDNSZone    = "cluster.{cluster}"
	// The API server's default --service-node-port-range.
	DefaultNodePortFirst = 30000
	DefaultNodePortLast  = 32767
)

// DefaultTunnelPool is in the shared address space (RFC 6598), at the end that neither
// carriers nor the overlay networks of OpenShift use by default.
var DefaultTunnelPool = netip.MustParsePrefix("100.127.0.0/16")

// vxlanPort is that of OpenShift SDN's own tunnels; its tables drop it from pods.
const vxlanPort = 4789

// Defaults fills in what is not set.
func (o Options) Defaults() Options {
	o.TunnelPort = cmp.Or(o.TunnelPort, DefaultTunnelPort)
	if !o.TunnelPool.IsValid() {
		o.TunnelPool = DefaultTunnelPool
	}
	o.ServiceType = cmp.Or(o.ServiceType, LoadBalancer)
	o.NodePortFirst = cmp.Or(o.NodePortFirst, DefaultNodePortFirst)
	o.NodePortLast = cmp.Or(o.NodePortLast, DefaultNodePortLast)
	o.DNSZone = cmp.Or(o.DNSZone, DefaultDNSZone)
	return o
}

var (
	dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	dnsName  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`)
)

func (p *planner) checkOptions() {
	o := p.options
	if o.TunnelPort == vxlanPort {
		p.conflict("", "tunnel_port", "choose another port, by default 5555", "%d is the port of the SDN's own VXLAN tunnels", o.TunnelPort)
	}
	if pool := o.TunnelPool; !pool.Addr().Is4() || pool != pool.Masked() || pool.Bits() > 30 || pool.Bits() < 8 {
		p.conflict("", "tunnel_pool", "give an IPv4 prefix without host bits, /8 to /30, by default "+DefaultTunnelPool.String(),
			"%v cannot be a pool of tunnel addresses", pool)
	}
	switch o.ServiceType {
	case LoadBalancer, NodePort, HostNetwork, Static:
	default:
		p.conflict("", "service_type", "choose LoadBalancer, NodePort, HostNetwork or Static", "%q is not known", o.ServiceType)
	}
	if o.NodePortFirst > o.NodePortLast {
		p.conflict("", "node_port_range", "give the first port before the last", "%d-%d is empty", o.NodePortFirst, o.NodePortLast)
	}
	if !strings.Contains(o.DNSZone, "{cluster}") || !dnsName.MatchString(strings.ReplaceAll(o.DNSZone, "{cluster}", "a")) {
		p.conflict("", "dns_zone", "give a DNS name with {cluster} in it, by default "+DefaultDNSZone, "%q gives no zone to each cluster", o.DNSZone)
	}
	for _, cluster := range slices.Sorted(maps.Keys(o.ExportPolicy)) {
		if _, known := exportPolicy(o.ExportPolicy[cluster]); !known {
			p.conflict(cluster, "export_policy", "choose all or exported", "%q is not known", o.ExportPolicy[cluster])
		}
	}
	if len(o.StaticEndpoints) > 0 && o.ServiceType != Static {
		p.warn("", "static_endpoints are given but service_type is %s: they are not used", o.ServiceType)
	}
	if o.NodePort != 0 && o.ServiceType != NodePort {
		p.warn("", "node_port is given but service_type is %s: it is not used", o.ServiceType)
	}
}

// exportPolicy is the API's value of an inventory's, empty where it says nothing.
func exportPolicy(said string) (policy v1alpha1.ExportPolicy, known bool) {
	switch strings.ToLower(said) {
	case "":
		return "", true
	case "all":
		return v1alpha1.ExportAll, true
	case "exported":
		return v1alpha1.ExportExported, true
	}
	return "", false
}
