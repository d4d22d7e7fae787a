package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
)

// Rules are what an agent may write. They are those of the role's admission policy.
type Rules struct {
	// Cluster is the own member.
	Cluster string
	// Namespace and ServiceAccount are the agents'.
	Namespace, ServiceAccount string
}

// Agents is the agents' user name.
func (r Rules) Agents() string {
	return "system:serviceaccount:" + r.Namespace + ":" + r.ServiceAccount
}

// What the controller writes stays as it is, and is not there when the object is made.
var (
	controllers = []string{"endpoint", "tunnelAddress", "listenPort", "gateway"}
	untouched   = []string{"labels", "finalizers", "ownerReferences"}
)

// object is a TunnelNode by its fields, so that one that is empty is told from one that
// is missing.
type object struct {
	Metadata map[string]any `json:"metadata"`
	Spec     map[string]any `json:"spec"`
}

// subnets is the field with the slices of the pod network that a node says are its own.
const subnets = "hostSubnets"

// change is what a request makes of an object; was is empty where it is made.
type change struct{ is, was object }

func read(req *admissionv1.AdmissionRequest) (c change, err error) {
	if err := json.Unmarshal(req.Object.Raw, &c.is); err != nil {
		return c, fmt.Errorf("read the object: %w", err)
	}
	if req.Operation == admissionv1.Update {
		if err := json.Unmarshal(req.OldObject.Raw, &c.was); err != nil {
			return c, fmt.Errorf("read the object as it was: %w", err)
		}
	}
	return c, nil
}

// claims tells whether there are host subnets, and others than there were.
func (c change) claims() bool {
	return c.is.Spec[subnets] != nil && !same(c.is.Spec, c.was.Spec, subnets)
}

// judge tells why the agent on node may not do what it asks for, or nil. Own are the host
// subnets that the cluster gave the node; they matter to changes that claim any.
func (r Rules) judge(c change, node string, own []string) error {
	is, was := c.is, c.was
	if node == "" {
		return errors.New("the agent's token names no node, and no pod of this cluster")
	}
	if is.Spec["node"] != node || is.Spec["cluster"] != r.Cluster {
		return fmt.Errorf("the agent of node %s may only write the TunnelNode %s.%s", node, r.Cluster, node)
	}
	for _, field := range controllers {
		if !same(is.Spec, was.Spec, field) {
			return fmt.Errorf("%s is the controller's to write", field)
		}
	}
	for _, field := range untouched {
		if !same(is.Metadata, was.Metadata, field) {
			return fmt.Errorf("an agent does not touch %s", field)
		}
	}
	if !c.claims() {
		return nil
	}
	said, _ := is.Spec[subnets].([]any)
	for _, s := range said {
		if text, _ := s.(string); !slices.Contains(own, text) {
			return fmt.Errorf("%s of node %s may only be what the cluster gave it: [%s]", subnets, node, strings.Join(own, ", "))
		}
	}
	return nil
}

func same(is, was map[string]any, field string) bool {
	a, there := is[field]
	b, before := was[field]
	return there == before && reflect.DeepEqual(a, b)
}
