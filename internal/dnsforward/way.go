package dnsforward

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Way is how a cluster's DNS is told to forward.
type Way string

// The ways.
const (
	// Operator is OpenShift's DNS operator.
	Operator Way = "operator"
	// ConfigMap is a CoreDNS in kube-system.
	ConfigMap Way = "configmap"
	// Manual: the cluster's DNS is none that is known here.
	Manual Way = "manual"
)

var (
	dnses      = schema.GroupVersionResource{Group: "operator.openshift.io", Version: "v1", Resource: "dnses"}
	daemonsets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	configmaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	services   = schema.GroupVersionResource{Version: "v1", Resource: "services"}
)

const (
	operatorObject             = "default"
	operandNS, operandName     = "openshift-dns", "dns-default"
	configMapNS, configMapName = "kube-system", "coredns"
	corefileKey                = "Corefile"
)

// Detect finds out which way a cluster has. The operator's object alone is not enough:
// something must act on it, which shows in the servers that the operator runs.
func Detect(ctx context.Context, c dynamic.Interface) (Way, error) {
	operator, err := get(ctx, c.Resource(dnses), operatorObject)
	if err != nil {
		return "", err
	}
	operand, err := get(ctx, c.Resource(daemonsets).Namespace(operandNS), operandName)
	if err != nil {
		return "", err
	}
	if operator != nil && operand != nil {
		if state, _, _ := unstructured.NestedString(operator.Object, "spec", "managementState"); state == "Unmanaged" {
			return Manual, nil
		}
		return Operator, nil
	}
	coredns, err := get(ctx, c.Resource(configmaps).Namespace(configMapNS), configMapName)
	if err != nil {
		return "", err
	}
	if text, found := corefileOf(coredns); found && text != "" {
		return ConfigMap, nil
	}
	return Manual, nil
}

// get gives nil for an object that is not there, or of a kind that the server has not.
func get(ctx context.Context, r dynamic.ResourceInterface, name string) (*unstructured.Unstructured, error) {
	o, err := r.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || meta.IsNoMatchError(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return o, nil
}

func corefileOf(cm *unstructured.Unstructured) (string, bool) {
	if cm == nil {
		return "", false
	}
	text, found, _ := unstructured.NestedString(cm.Object, "data", corefileKey)
	return text, found
}

// Instructions say what to do by hand for a cluster whose DNS is not known.
func Instructions(zones []string, server string) string {
	return fmt.Sprintf("nothing here can tell the cluster's own DNS about the names of the linked clusters: "+
		"make it forward these zones to %s (UDP and TCP port 53): %s", server, strings.Join(zones, " "))
}
