package kuberouter

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// ipvsText is the kernel's, with what is not ours to judge.
const ipvsText = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  AC1F0405:0050 rr 
  -> 0A840002:1F90      Masq    1      0          0         
  -> 0A840001:1F90      Masq    0      1          0         
UDP  AC1F0405:0050 rr persistent 600 FFFFFFFF
  -> 0A840002:1F90      Masq    1      0          0         
  -> 0A840001:1F90      Masq    0      1          0         
TCP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0050 rr
  -> [fd01:0000:0000:0000:0000:0000:0000:0001]:1F90      Masq    1      0          0
FWM  00000001 rr
  -> 0A840001:1F90      Masq    1      0          0
TCP  AC1F0409:0050 rr 
`

func key(protocol, at string) remoteservice.Key {
	a := netip.MustParseAddrPort(at)
	return remoteservice.Key{Addr: a.Addr(), Protocol: corev1.Protocol(protocol), Port: a.Port()}
}

func backends(use ...string) (b remoteservice.Backends) {
	for _, u := range use {
		b.Use = append(b.Use, netip.MustParseAddrPort(u))
	}
	b.Serve = b.Use
	return b
}

func TestParseIPVS(t *testing.T) {
	got, err := parseIPVS(strings.NewReader(ipvsText))
	if err != nil {
		t.Fatal(err)
	}
	one, two := netip.MustParseAddrPort("10.132.0.1:8080"), netip.MustParseAddrPort("10.132.0.2:8080")
	want := programmed{
		key("TCP", "172.31.4.5:80"): {one: 0, two: 1},
		key("UDP", "172.31.4.5:80"): {one: 0, two: 1},
		key("TCP", "172.31.4.9:80"): {},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, err := parseIPVS(strings.NewReader("TCP  AC1F0405:0050 rr\n  -> 0A840002:1F90 Masq x 0 0\n")); err == nil {
		t.Error("a weight that is no number is accepted")
	}
}

func FuzzParseIPVS(f *testing.F) {
	f.Add(ipvsText)
	f.Add("TCP  :0050 rr\n  -> 0A840002: Masq 1\n-> \n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseIPVS(strings.NewReader(text))
		if err != nil {
			return
		}
		want := map[remoteservice.Key]remoteservice.Backends{}
		for k, have := range p {
			var b remoteservice.Backends
			for at, weight := range have {
				if weight > 0 {
					b.Use = append(b.Use, at)
				}
			}
			want[k] = b
		}
		if !p.equals(want) {
			t.Errorf("%v is not what it says: %v", p, want)
		}
	})
}

// TestEquals: without weight is out of use; more or less than is wanted is not equal.
func TestEquals(t *testing.T) {
	p, err := parseIPVS(strings.NewReader(ipvsText))
	if err != nil {
		t.Fatal(err)
	}
	wanted := func() map[remoteservice.Key]remoteservice.Backends {
		return map[remoteservice.Key]remoteservice.Backends{
			key("TCP", "172.31.4.5:80"): backends("10.132.0.2:8080"), key("UDP", "172.31.4.5:80"): backends("10.132.0.2:8080"),
			key("TCP", "172.31.4.9:80"): {},
		}
	}
	for name, tt := range map[string]struct {
		change func(map[remoteservice.Key]remoteservice.Backends)
		want   bool
	}{
		"equal":             {func(map[remoteservice.Key]remoteservice.Backends) {}, true},
		"a service is left": {func(m map[remoteservice.Key]remoteservice.Backends) { delete(m, key("TCP", "172.31.4.9:80")) }, false},
		"a service is missing": {func(m map[remoteservice.Key]remoteservice.Backends) {
			delete(m, key("TCP", "172.31.4.9:80"))
			m[key("TCP", "172.31.4.8:80")] = remoteservice.Backends{}
		}, false},
		"an endpoint is missing": {func(m map[remoteservice.Key]remoteservice.Backends) {
			m[key("TCP", "172.31.4.5:80")] = backends("10.132.0.2:8080", "10.132.0.3:8080")
		}, false},
		"an endpoint is left": {func(m map[remoteservice.Key]remoteservice.Backends) { m[key("TCP", "172.31.4.5:80")] = backends() }, false},
		"one without weight is wanted": {func(m map[remoteservice.Key]remoteservice.Backends) {
			m[key("TCP", "172.31.4.5:80")] = backends("10.132.0.1:8080")
		}, false},
	} {
		want := wanted()
		tt.change(want)
		if got := p.equals(want); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestStale: of UDP, what has no weight and is gone, and not what terminates.
func TestStale(t *testing.T) {
	p, err := parseIPVS(strings.NewReader(ipvsText))
	if err != nil {
		t.Fatal(err)
	}
	udp := key("UDP", "172.31.4.5:80")
	b := backends("10.132.0.2:8080")
	got := p.stale(map[remoteservice.Key]remoteservice.Backends{udp: b})
	if len(got) != 1 || len(got[udp]) != 1 || got[udp][0].String() != "10.132.0.1:8080" {
		t.Errorf("gone: %v", got)
	}
	b.Serve = append(b.Serve, netip.MustParseAddrPort("10.132.0.1:8080"))
	if got := p.stale(map[remoteservice.Key]remoteservice.Backends{udp: b}); len(got) != 0 {
		t.Errorf("terminating: %v", got)
	}
}
