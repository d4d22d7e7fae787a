package ovsflow

import (
	"os"
	"strings"
	"testing"
)

func TestParseCanonical(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"with statistics": {
			" cookie=0x73646e74756e0001, duration=12.5s, table=30, n_packets=7, n_bytes=99, idle_age=3, priority=350,ip,nw_src=10.128.0.0/23,nw_dst=10.132.0.0/14 actions=ct(commit),set_field:0A:58:00:00:00:01->eth_dst,output:5",
			"cookie=0x73646e74756e0001,table=30,priority=350,ip,nw_dst=10.132.0.0/14,nw_src=10.128.0.0/23 actions=ct(commit),set_field:0a:58:00:00:00:01->eth_dst,output:5",
		},
		"without statistics, table 0 left out": {
			" cookie=0x1, priority=1000,ct_state=-trk,ip actions=ct(table=0)",
			"cookie=0x1,table=0,priority=1000,ip,ct_state=-trk actions=ct(table=0)",
		},
		"decimal and hex, single address": {
			"cookie=0x0,table=80,reg0=0x064,nw_src=10.0.0.1/32 actions=load:0x0->NXM_NX_REG0[],load:100->NXM_NX_REG1[]",
			"cookie=0x0,table=80,priority=32768,nw_src=10.0.0.1,reg0=0x64 actions=load:0->NXM_NX_REG0[],load:0x64->NXM_NX_REG1[]",
		},
		"commas inside parentheses": {
			"cookie=0x0,in_port=LOCAL actions=learn(table=1,load:1->a(b,c)),drop",
			"cookie=0x0,table=0,priority=32768,in_port=LOCAL actions=learn(table=1,load:1->a(b,c)),drop",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			flows, err := Parse("OFPST_FLOW reply (OF1.3) (xid=0x2):\n" + tt.in + "\n\n")
			if err != nil || len(flows) != 1 {
				t.Fatalf("%d flows, error %v", len(flows), err)
			}
			if got := strings.TrimSpace(text(t, flows)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestParseParts reads a dump that took several OpenFlow messages, as one of some hundred
// flows does.
func TestParseParts(t *testing.T) {
	flows, err := Parse(`OFPST_FLOW reply (OF1.3) (xid=0x2): flags=[more]
 cookie=0x1, table=0, priority=1,ip actions=drop
OFPST_FLOW reply (OF1.3) (xid=0x2): flags=[more]
 cookie=0x1, table=0, priority=2,ip actions=drop
OFPST_FLOW reply (OF1.3) (xid=0x2):
 cookie=0x1, table=0, priority=3,ip actions=drop
`)
	if err != nil || len(flows) != 3 {
		t.Errorf("%d flows, error %v; want 3", len(flows), err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"an error message":   "ovs-ofctl: br0 is not a bridge or a socket",
		"no actions":         "cookie=0x0,table=1,ip",
		"empty actions":      "cookie=0x0,table=1,ip actions=",
		"bad cookie":         "cookie=0xzz,table=1 actions=drop",
		"bad table":          "cookie=0x0,table=300 actions=drop",
		"bad priority":       "cookie=0x0,priority=-1 actions=drop",
		"port by name":       "cookie=0x0,in_port=vxlan0 actions=drop",
		"open parenthesis":   "cookie=0x0 actions=ct(commit",
		"closed parenthesis": "cookie=0x0 actions=ct)commit(",
	} {
		t.Run(name, func(t *testing.T) {
			if flows, err := Parse(in); err == nil {
				t.Errorf("%q was read as %v", in, flows)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	want, err := Flows(onePlan())
	if err != nil {
		t.Fatal(err)
	}
	sdn, err := os.ReadFile("testdata/sdn/multitenant.flows")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.TrimSpace(text(t, want))
	lines := strings.Split(all, "\n")
	changed := strings.Replace(all, "output:5", "output:6", 1)
	for name, tt := range map[string]struct {
		have             string
		missing, surplus int
	}{
		"equal":                 {all, 0, 0},
		"beside the SDN's":      {string(sdn) + all, 0, 0},
		"nothing there":         {"", len(want), 0},
		"only the SDN's":        {string(sdn), len(want), 0},
		"one gone":              {strings.Join(lines[1:], "\n"), 1, 0},
		"one with other action": {changed, 1, 1},
		"one too many":          {all + "\n" + strings.Replace(lines[0], "10.132.0.0/14", "10.200.0.0/14", 1), 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			have, err := Parse(tt.have)
			if err != nil {
				t.Fatal(err)
			}
			d, err := Diff(have, want)
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Missing) != tt.missing || len(d.Surplus) != tt.surplus || d.Empty() != (tt.missing+tt.surplus == 0) {
				t.Errorf("missing:\n%ssurplus:\n%s", text(t, d.Missing), text(t, d.Surplus))
			}
		})
	}
}

func TestBundle(t *testing.T) {
	want, err := Flows(onePlan())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Bundle(want)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b), "\n")
	if lines[0] != "delete cookie=0x73646e74756e0001/-1" || len(lines) != len(want)+1 {
		t.Errorf("got\n%s", b)
	}
}

// FuzzParse: no input makes Parse fail otherwise than by an error, and what it reads has
// a canonical text that is read back as the same.
func FuzzParse(f *testing.F) {
	for _, mode := range []string{"multitenant", "networkpolicy", "subnet"} {
		sdn, err := os.ReadFile("testdata/sdn/" + mode + ".flows")
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(sdn)) {
			f.Add(line)
		}
	}
	f.Add("cookie=0x1,tcp,ip=3,reg0=08,in_port=4294967295 actions=load:0x0->a,set_field:A->b")
	f.Fuzz(func(t *testing.T, s string) {
		flows, err := Parse(s)
		if err != nil {
			return
		}
		once := text(t, flows)
		again, err := Parse(once)
		if err != nil {
			t.Fatalf("%q: read, but its text %q is not: %v", s, once, err)
		}
		if twice := text(t, again); twice != once {
			t.Fatalf("%q: first %q, then %q", s, once, twice)
		}
	})
}
