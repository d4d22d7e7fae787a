package controller

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// errTaken: a node's new key or endpoint is already that of another member's node.
var errTaken = errors.New("the change is not taken over")

// takenRetry is how soon it is seen whether the holder has given up what was claimed.
const takenRetry = time.Minute

// taken refuses a change of a mirror from is to want that claims the key or the
// endpoint of a node of another member. A mirror's age counts for what it held all
// along, so an old one must not carry a new claim. Within one member the order of
// changes is that member's own business.
func (r *mirrors) taken(ctx context.Context, is, want v1alpha1.TunnelNodeSpec) error {
	key, where := want.PublicKey, endpointOf(&want)
	if sameKey(key, is.PublicKey) {
		key = ""
	}
	if where == endpointOf(&is) {
		where = mesh.Endpoint{}
	}
	if key == "" && where.IsZero() {
		return nil
	}
	var known v1alpha1.TunnelNodeList
	if err := r.List(ctx, &known); err != nil {
		return fmt.Errorf("list the TunnelNodes: %w", err)
	}
	for i := range known.Items {
		other := &known.Items[i]
		switch {
		case other.Spec.Cluster == want.Cluster:
		case key != "" && sameKey(key, other.Spec.PublicKey):
			return fmt.Errorf("%w: its new spec.publicKey is that of %s, which is known here with it", errTaken, other.Name)
		case !where.IsZero() && where == endpointOf(&other.Spec):
			return fmt.Errorf("%w: its new spec.endpoint %s:%d is that of %s, which is known here with it", errTaken, where.Host, where.Port, other.Name)
		}
	}
	return nil
}

// sameKey also knows two spellings of one key.
func sameKey(a, b string) bool {
	x, err := mesh.ParseKey(a)
	y, err2 := mesh.ParseKey(b)
	if err != nil || err2 != nil {
		return a == b
	}
	return x == y
}

// endpointOf is a node's endpoint in the one form in which equal ones are equal.
func endpointOf(s *v1alpha1.TunnelNodeSpec) mesh.Endpoint {
	if s.Endpoint == nil || s.Endpoint.Port <= 0 || s.Endpoint.Port > 65535 {
		return mesh.Endpoint{}
	}
	host := strings.TrimSuffix(strings.ToLower(s.Endpoint.Host), ".")
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.Unmap().String()
	}
	return mesh.Endpoint{Host: host, Port: uint16(s.Endpoint.Port)}
}
