package main

import (
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/sidecar"
)

// TestDocumentation: what ansible-doc shows is what the module takes.
func TestDocumentation(t *testing.T) { sidecar.Check[Args](t, "sdn_dns_forward") }

// TestValidate: nobody forwards nothing, or to nowhere.
func TestValidate(t *testing.T) {
	for _, a := range []Args{{State: "present"}, {State: "present", Zones: []string{"a"}}, {State: "present", Service: "s"}} {
		if a.Validate() == nil {
			t.Errorf("%+v is taken", a)
		}
	}
	for _, a := range []Args{{State: "absent"}, {State: "present", Zones: []string{"a"}, Service: "s"}} {
		if err := a.Validate(); err != nil {
			t.Errorf("%+v: %v", a, err)
		}
	}
}
