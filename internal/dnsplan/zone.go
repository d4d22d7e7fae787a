package dnsplan

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// ClusterSetZone is that of the Multi-Cluster Services API (KEP-1645).
const ClusterSetZone = "clusterset.local"

// Cluster is a member as its names need it.
type Cluster struct {
	Name string
	// Zone is where its names are, e.g. cluster.west.
	Zone string
	// Networks are those whose addresses have names in it (PTR). The local cluster's
	// have names in the cluster's own domain, which its own DNS serves.
	Networks []netip.Prefix
}

// maxName is the length of a DNS name (RFC 1035, without the root's dot).
const maxName = 253

var (
	label    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	zoneName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`)
)

// FromObjects reads the members, in the order of their names.
func FromObjects(objects []v1alpha1.LinkedCluster) ([]Cluster, error) {
	var out []Cluster
	var errs []error
	for i := range objects {
		c, err := fromObject(&objects[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("LinkedCluster %s: %w", objects[i].Name, err))
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
	return out, errors.Join(errs...)
}

func fromObject(o *v1alpha1.LinkedCluster) (Cluster, error) {
	c := Cluster{Name: o.Name, Zone: o.Spec.DNSZone}
	if c.Zone == "" {
		c.Zone = "cluster." + o.Name
	}
	if len(o.Spec.GlobalPodCIDRs) > 0 {
		// Names have the addresses that pods have at home, which are others here.
		return c, errors.New("spec.globalPodCIDRs: names cannot be given to translated addresses: leave the cluster's names out (dns_enabled: false)")
	}
	for _, list := range [][]v1alpha1.CIDR{o.Spec.ServiceCIDRs, o.Spec.PodCIDRs} {
		for _, s := range list {
			p, err := netip.ParsePrefix(string(s))
			if err != nil {
				return c, fmt.Errorf("%q is not an address prefix", s)
			}
			c.Networks = append(c.Networks, p.Masked())
		}
	}
	return c, nil
}

// check refuses zones that would take names away from others, or from each other.
func check(clusters []Cluster, o Options) error {
	var errs []error
	zones := map[string]string{}
	refuse := func(c Cluster, format string, args ...any) {
		errs = append(errs, fmt.Errorf("cluster %s: zone %q %s: set another dns_zone", c.Name, c.Zone, fmt.Sprintf(format, args...)))
	}
	for _, c := range clusters {
		switch other, taken := zones[c.Zone]; {
		case !label.MatchString(c.Name):
			errs = append(errs, fmt.Errorf("cluster %q: its name is no DNS label", c.Name))
		case !zoneName.MatchString(c.Zone) || len(c.Zone) > maxName:
			refuse(c, "is no DNS name in lower case")
		case taken:
			refuse(c, "is that of cluster %s, too", other)
		case within(c.Zone, "arpa"):
			refuse(c, "is among the names of addresses")
		}
		for _, reserved := range []string{o.ClusterDomain, ClusterSetZone} {
			if within(c.Zone, reserved) || within(reserved, c.Zone) {
				refuse(c, "and %s are one in the other", reserved)
			}
		}
		zones[c.Zone] = c.Name
	}
	if !zoneName.MatchString(o.ClusterDomain) {
		errs = append(errs, fmt.Errorf("dns_cluster_domain: %q is no DNS name in lower case", o.ClusterDomain))
	}
	return errors.Join(errs...)
}

// within tells whether name is zone or a name in it.
func within(name, zone string) bool {
	return name == zone || strings.HasSuffix(name, "."+zone)
}
