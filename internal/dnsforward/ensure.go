package dnsforward

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/dnsplan"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// Target is the server that the zones are forwarded to: a Service with a cluster address.
type Target struct{ Namespace, Service string }

// Forwarder changes one cluster's DNS.
type Forwarder struct {
	Client dynamic.Interface
	// DryRun says what would change and changes nothing.
	DryRun bool
}

// Result is what was done and what is left to people.
type Result struct {
	Way      Way
	Changes  []ssa.Change
	Warnings []string
}

// Ensure makes the cluster's DNS forward the zones to the target. With byHand it says
// only what people have to do. What a way that is not the cluster's has of ours goes.
func (f Forwarder) Ensure(ctx context.Context, zones []string, to Target, byHand bool) (Result, error) {
	r := Result{Way: Manual}
	address, err := f.address(ctx, to)
	if err != nil {
		return r, err
	}
	if !byHand {
		if r.Way, err = Detect(ctx, f.Client); err != nil {
			return r, fmt.Errorf("find out about the cluster's DNS: %w", err)
		}
	}
	servers, corefile := withoutServer, dnsplan.Unforward
	switch r.Way {
	case Operator:
		servers = func(all []any) ([]any, error) { return dnsplan.WithServer(all, zones, address+":53") }
	case ConfigMap:
		corefile = func(text string) (string, error) { return dnsplan.Forward(text, zones, address) }
	default:
		r.Warnings = append(r.Warnings, Instructions(zones, address))
	}
	return f.edit(ctx, r, servers, corefile)
}

// Remove takes out of the cluster's DNS whatever Ensure ever put in, either way.
func (f Forwarder) Remove(ctx context.Context) (Result, error) {
	return f.edit(ctx, Result{}, withoutServer, dnsplan.Unforward)
}

// edit changes both objects, as far as they are there.
func (f Forwarder) edit(ctx context.Context, r Result, servers func([]any) ([]any, error), corefile func(string) (string, error)) (Result, error) {
	change, err := f.operator(ctx, servers)
	if change != nil {
		r.Changes = append(r.Changes, *change)
	}
	if err != nil {
		return r, err
	}
	change, err = f.corefile(ctx, corefile)
	if change != nil {
		r.Changes = append(r.Changes, *change)
		if text, _, _ := unstructured.NestedString(change.After, "data", corefileKey); !reloads(text) {
			r.Warnings = append(r.Warnings, restart)
		}
	}
	return r, err
}

// restart is for a CoreDNS that reads its Corefile only at start.
const restart = "the cluster's CoreDNS does not reload its Corefile: run kubectl -n kube-system rollout restart deployment coredns"

func withoutServer(servers []any) ([]any, error) { return dnsplan.WithoutServer(servers), nil }

// address is the Service's. A dry run may come before the Service does.
func (f Forwarder) address(ctx context.Context, to Target) (string, error) {
	s, err := get(ctx, f.Client.Resource(services).Namespace(to.Namespace), to.Service)
	if err != nil {
		return "", err
	}
	if s == nil && f.DryRun {
		return "(the address of Service " + to.Service + ")", nil
	}
	if s == nil {
		return "", fmt.Errorf("the Service %s/%s is not there: deploy the server first", to.Namespace, to.Service)
	}
	ip, _, _ := unstructured.NestedString(s.Object, "spec", "clusterIP")
	if ip == "" || ip == "None" {
		return "", fmt.Errorf("the Service %s/%s has no cluster address", to.Namespace, to.Service)
	}
	return ip, nil
}

// operator edits the servers of OpenShift's DNS operator.
func (f Forwarder) operator(ctx context.Context, edit func([]any) ([]any, error)) (*ssa.Change, error) {
	change := ssa.Change{Verb: ssa.Update, Kind: "DNS", Name: operatorObject}
	return f.object(ctx, f.Client.Resource(dnses), change, func(o *unstructured.Unstructured) error {
		servers, _, err := unstructured.NestedSlice(o.Object, "spec", "servers")
		if err != nil {
			return fmt.Errorf("spec.servers: %w", err)
		}
		edited, err := edit(servers)
		if err != nil || reflect.DeepEqual(edited, servers) {
			return err
		}
		if len(edited) == 0 {
			unstructured.RemoveNestedField(o.Object, "spec", "servers")
			return nil
		}
		return unstructured.SetNestedSlice(o.Object, edited, "spec", "servers")
	})
}

// corefile edits that of the CoreDNS in kube-system.
func (f Forwarder) corefile(ctx context.Context, edit func(string) (string, error)) (*ssa.Change, error) {
	change := ssa.Change{Verb: ssa.Update, Kind: "ConfigMap", Namespace: configMapNS, Name: configMapName}
	return f.object(ctx, f.Client.Resource(configmaps).Namespace(configMapNS), change, func(o *unstructured.Unstructured) error {
		text, found := corefileOf(o)
		if !found {
			return nil
		}
		edited, err := edit(text)
		if err != nil {
			return fmt.Errorf("%s: %w", corefileKey, err)
		}
		return unstructured.SetNestedField(o.Object, edited, "data", corefileKey)
	})
}

// object reads, edits and writes an object, again if someone else was faster. One that
// is not there is no change.
func (f Forwarder) object(ctx context.Context, r dynamic.ResourceInterface, change ssa.Change, edit func(*unstructured.Unstructured) error) (*ssa.Change, error) {
	var done *ssa.Change
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		live, err := get(ctx, r, change.Name)
		if err != nil || live == nil {
			return err
		}
		edited := live.DeepCopy()
		if err := edit(edited); err != nil {
			return err
		}
		if reflect.DeepEqual(live.Object, edited.Object) {
			return nil
		}
		change.Before, change.After = shown(live), shown(edited)
		if !f.DryRun {
			if _, err := r.Update(ctx, edited, metav1.UpdateOptions{FieldManager: v1alpha1.ManagerDeploy}); err != nil {
				return err
			}
		}
		done = &change
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", change, err)
	}
	return done, nil
}

// shown is the part of an object that a diff is about.
func shown(o *unstructured.Unstructured) map[string]any {
	for _, field := range []string{"spec", "data"} {
		if part, ok := o.Object[field]; ok {
			return map[string]any{field: part}
		}
	}
	return nil
}

// reloads tells whether a CoreDNS takes up a change of its Corefile by itself.
func reloads(corefile string) bool {
	for line := range strings.Lines(corefile) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == "reload" {
			return true
		}
	}
	return false
}
