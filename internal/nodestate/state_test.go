package nodestate

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// TestNoKeys: of WireGuard, what is secret is not taken.
func TestNoKeys(t *testing.T) {
	key := func() wgtypes.Key {
		k, err := wgtypes.GeneratePrivateKey()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	private, preshared, peer := key(), key(), key()
	d := public(&wgtypes.Device{Name: "sdntun-wg", PrivateKey: private, PublicKey: private.PublicKey(), ListenPort: 5555, Peers: []wgtypes.Peer{{
		PublicKey: peer.PublicKey(), PresharedKey: preshared, Endpoint: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5555}, LastHandshakeTime: time.Unix(1e9, 0),
		AllowedIPs: []net.IPNet{{IP: net.IPv4(10, 132, 0, 0), Mask: net.CIDRMask(23, 32)}}}}})
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{private.String(), preshared.String()} {
		if strings.Contains(string(text), secret) {
			t.Errorf("a secret key is in %s", text)
		}
	}
	for _, want := range []string{private.PublicKey().String(), peer.PublicKey().String(), "192.0.2.1:5555", "10.132.0.0/23", "5555", "2001-09-09T01:46:40Z"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
}

// TestNothingThere: where there is nothing of ours, each thing says so, and nothing is made.
func TestNothingThere(t *testing.T) {
	s := Read(t.Context(), Options{Namespace: tunnelns.At(t.TempDir() + "/none"), Node: tunnelns.Own(), Link: "none"})
	if len(s.Errors) < 5 || s.WireGuard != nil || len(s.Tables) != 0 {
		t.Errorf("got %+v", s)
	}
}
