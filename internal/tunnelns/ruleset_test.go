package tunnelns

import (
	"context"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
)

// TestRulesetEvents: each transaction tells which tables it touched, and then the
// generation that it made, which is the one that can be asked for.
func TestRulesetEvents(t *testing.T) {
	n := newNamespace(t, "e")
	ctx, cancel := context.WithCancel(t.Context())
	events, ended := make(chan Event, 100), make(chan error)
	go func() {
		ended <- n.Listen(ctx, unix.NETLINK_NETFILTER, []uint32{NfTables}, func(e Event) { events <- e })
	}()
	if e := <-events; e.Type != 0 {
		t.Fatalf("it begins with an event of type %d", e.Type)
	}
	for _, script := range []string{
		"add table ip one", "add table inet two; add chain inet two c", "add set ip one s { type mark; }; add element ip one s { 1, 2 }", "delete table ip one",
	} {
		before, err := n.RulesetGeneration()
		if err != nil {
			t.Fatal(err)
		}
		nettest.Sh(t, "nsenter --net=%s nft '%s'", n.path, script)
		after, err := n.RulesetGeneration()
		if err != nil || after != before+1 {
			t.Errorf("%s: generation %d after %d (%v)", script, after, before, err)
		}
		want, told := script[:strings.IndexByte(script+";", ';')], map[string]bool{}
		for generation := uint32(0); generation == 0; {
			select {
			case e := <-events:
				if family, table, ok := e.RulesetTable(); ok {
					told[map[byte]string{unix.NFPROTO_IPV4: "ip ", unix.NFPROTO_INET: "inet "}[family]+table] = true
				}
				generation, _ = e.RulesetGeneration()
				if generation != 0 && generation != after {
					t.Errorf("%s: told generation %d, asked %d", script, generation, after)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%s: no event", script)
			}
		}
		for table := range told {
			if !strings.Contains(want, table) {
				t.Errorf("%s: touched %q", script, table)
			}
		}
		if len(told) != 1 {
			t.Errorf("%s: touched %v", script, told)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRulesetEventsOfOtherKinds(t *testing.T) {
	for _, e := range []Event{{}, {Type: unix.RTM_NEWLINK, Data: make([]byte, 40)}, {Type: newGen}, {Type: newGen, Data: []byte{0, 0, 0, 0, 1}}, {Type: nftSubsystem, Data: []byte{1}}} {
		if _, table, ok := e.RulesetTable(); ok {
			t.Errorf("%+v is about table %q", e, table)
		}
		if g, ok := e.RulesetGeneration(); ok {
			t.Errorf("%+v made generation %d", e, g)
		}
	}
}
