package controller_test

import (
	"fmt"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/internal/clusterset"
)

// TestControllerKeepsToItsSlices: of the slices outside of its namespace, the controller's
// account may write those that stand for headless imports, and no others.
func TestControllerKeepsToItsSlices(t *testing.T) {
	m := newMember(t, "east")
	const account = "system:serviceaccount:sdn-tunnel:sdn-tunnel-controller"
	m.grant("controller.yml.j2", account)
	m.template("admission.yml.j2", nil)
	cfg := rest.CopyConfig(m.api.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: account, Groups: []string{"system:authenticated"}}
	c, err := client.New(cfg, client.Options{Scheme: m.Scheme(), Mapper: m.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	slice := func(namespace, name, service string) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name,
			Labels: map[string]string{discoveryv1.LabelServiceName: service}}, AddressType: discoveryv1.AddressTypeIPv4}
	}
	id := clusterset.ID{Namespace: "default", Name: "db"}
	ours := id.DerivedName() + "-0123456789ab"
	forged := slice("default", "web-x", "web")
	m.create(forged)
	eventually(t, "the policy is in force", func() string {
		if err := c.Delete(t.Context(), forged, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "only write slices of imported services") {
			return fmt.Sprint(err)
		}
		return ""
	})
	refused := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	refused("a slice of a service", c.Create(t.Context(), slice("default", "web-y", "web")), "only write slices of imported services")
	refused("under an import's name", c.Create(t.Context(), slice("default", ours, "web")), "may not write slices of other services")
	change := slice("default", "web-x", id.DerivedName())
	refused("somebody's slice", c.Patch(t.Context(), change, client.MergeFrom(forged)), "only write slices of imported services")
	mine := slice("default", ours, id.DerivedName())
	for what, err := range map[string]error{
		"an import's slice": c.Create(t.Context(), mine), "that goes": c.Delete(t.Context(), slice("default", ours, "")),
		"the own namespace": c.Create(t.Context(), slice(namespace, "any", "any")),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
