package spelling

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"tunnel_port", "service_type", "namespace"}
	for name, want := range map[string]string{"tunel_port": "tunnel_port", "service_tpye": "service_type", "password": "", "x": ""} {
		if got := Nearest(name, known); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
