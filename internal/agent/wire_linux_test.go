package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/vswitch"
)

// TestAttach: what is not OpenShift SDN is refused with what was looked for and a
// remedy; told that it is, the agent waits for it.
func TestAttach(t *testing.T) {
	ovs := vswitch.NewOVS(t.TempDir(), slog.New(slog.DiscardHandler)) // no Open vSwitch there
	for _, tt := range []struct {
		attachment Attachment
		want       []string // none: accepted
	}{
		{AttachOVS, nil},
		{AttachAuto, []string{"attachment auto", "bridge br0 in Open vSwitch", "--attachment ovs"}},
		{"host", []string{`attachment "host"`, "supports OpenShift SDN only"}},
		{"", []string{`attachment ""`}},
	} {
		err := attach(t.Context(), Options{Attachment: tt.attachment, Bridge: "br0"}, ovs)
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%q: %v", tt.attachment, err)
		}
		for _, want := range tt.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %q is not in: %v", tt.attachment, want, err)
			}
		}
	}
}

// TestRefusedBeforeTheKey: an attachment that cannot be leaves nothing on the node.
func TestRefusedBeforeTheKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	_, err := NewDataPlane(t.Context(), Options{Attachment: "host", Bridge: "br0", WireGuard: "auto", StateDir: dir, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Fatal("attachment host is accepted")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the state directory was made: %v", err)
	}
}
