package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

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

// Judge tells why the agent on node may not do what it asks for, or nil.
func (r Rules) Judge(req *admissionv1.AdmissionRequest, node string) error {
	var is, was object
	if err := json.Unmarshal(req.Object.Raw, &is); err != nil {
		return fmt.Errorf("read the object: %w", err)
	}
	if req.Operation == admissionv1.Update {
		if err := json.Unmarshal(req.OldObject.Raw, &was); err != nil {
			return fmt.Errorf("read the object as it was: %w", err)
		}
	}
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
	return nil
}

func same(is, was map[string]any, field string) bool {
	a, there := is[field]
	b, before := was[field]
	return there == before && reflect.DeepEqual(a, b)
}
