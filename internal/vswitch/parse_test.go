package vswitch

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestParseInterface(t *testing.T) {
	for name, tt := range map[string]struct {
		out  string
		want State
	}{
		"plugged in": {
			`{"data":[[5,["map",[["sdn-tunnel","port"]]],["set",[]],5]]}`,
			State{OFPort: 5, Tagged: true},
		},
		"no such device": {
			`{"data":[[-1,["map",[["sdn-tunnel","port"]]],"could not open network device sdntun1 (No such device)",["set",[]]]]}`,
			State{Tagged: true, Error: "could not open network device sdntun1 (No such device)"},
		},
		"switch has not looked yet":  {`{"data":[[["set",[]],["map",[]],["set",[]],["set",[]]]]}`, State{}},
		"somebody else's":            {`{"data":[[7,["map",[["ip","10.128.0.5"],["owner","sdn-tunnel"]]],["set",[]],7]]}`, State{OFPort: 7}},
		"a value that looks like it": {`{"data":[[7,["map",[["note","[\"sdn-tunnel\",\"port\"]"]]],["set",[]],7]]}`, State{OFPort: 7}},
		"its link is gone": {
			`{"data":[[5,["map",[["sdn-tunnel","port"],["sdn-tunnel-link","4"]]],["set",[]],0]]}`,
			State{Tagged: true, Link: 4, Error: "its link is gone (No such device)"},
		},
		"its link is another one": {
			`{"data":[[5,["map",[["sdn-tunnel","port"],["sdn-tunnel-link","4"]]],["set",[]],6]]}`,
			State{OFPort: 5, Tagged: true, Link: 4},
		},
		"number beyond OpenFlow's": {`{"data":[[4294967296,["map",[]],["set",[]],["set",[]]]]}`, State{}},
	} {
		t.Run(name, func(t *testing.T) {
			rows, err := parseRows(tt.out, 4)
			if err != nil || len(rows) != 1 {
				t.Fatalf("%d rows, %v", len(rows), err)
			}
			var got State
			parseInterface(rows[0], &got)
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestParseUUIDs(t *testing.T) {
	for cell, want := range map[string][]string{
		`["uuid","a"]`:                        {"a"},
		`["set",[["uuid","a"],["uuid","b"]]]`: {"a", "b"},
		`["set",[]]`:                          nil,
		`["named-uuid","a"]`:                  nil,
		`"a"`:                                 nil,
		`["set",["a"]]`:                       nil,
	} {
		if got := parseUUIDs(json.RawMessage(cell)); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", cell, got, want)
		}
	}
}

func TestParseRowsRefuses(t *testing.T) {
	for name, out := range map[string]string{
		"nothing":            "",
		"an error message":   "ovs-vsctl: no row",
		"a row cut short":    `{"data":[[5,["map",[]]]]}`,
		"a row without cell": `{"data":[[]]}`,
		"data of no table":   `{"data":5}`,
	} {
		t.Run(name, func(t *testing.T) {
			if rows, err := parseRows(out, 4); err == nil {
				t.Errorf("%q was read as %s", out, rows)
			}
		})
	}
}

func TestConcernsUs(t *testing.T) {
	for line, want := range map[string]bool{
		" event=ADDED table=30 cookie=0x73646e74756e0001 priority=350,ip":            true,
		" event=DELETED reason=delete table=0 cookie=0x73646e74756e0001,in_port=5\n": true,
		" event=ADDED table=0 cookie=0x0 priority=5":                                 false,
		" event=ADDED table=0 cookie=0x73646e74756e00012 priority=5":                 false,
		"NXT_FLOW_MONITOR_PAUSED (xid=0x0):":                                         true,
		"NXT_FLOW_MONITOR_RESUMED (xid=0x0):":                                        true,
		"NXST_FLOW_MONITOR reply (xid=0x0):":                                         false,
		"":                                                                           false,
	} {
		if got := concernsUs(line); got != want {
			t.Errorf("%q: got %v", line, got)
		}
	}
}

// FuzzParseRows: whatever ovs-vsctl prints is read or refused, and only a row that says
// so is ours.
func FuzzParseRows(f *testing.F) {
	f.Add(`{"data":[["netdev",["uuid","a"]]],"headings":["datapath_type","ports"]}`)
	f.Add(`{"data":[[5,["map",[["sdn-tunnel","port"]]],["set",[]],5]]}`)
	f.Add(`{"data":[[-1,["map",[]],"could not open network device",0]]}`)
	f.Fuzz(func(t *testing.T, out string) {
		if rows, err := parseRows(out, 2); err == nil {
			for _, r := range rows {
				parseBridge(r)
				parsePort(r)
			}
		}
		rows, err := parseRows(out, 4)
		if err != nil {
			return
		}
		for _, r := range rows {
			var s State
			parseInterface(r, &s)
			var cell []json.RawMessage
			if s.Tagged && (json.Unmarshal(r[1], &cell) != nil || len(cell) != 2) {
				t.Errorf("%s is taken for ours", r[1])
			}
		}
	})
}

// FuzzConcernsUs: no line of the flow monitor stops it.
func FuzzConcernsUs(f *testing.F) {
	f.Add(" event=ADDED table=30 cookie=0x73646e74756e0001 priority=350,ip")
	f.Add("NXT_FLOW_MONITOR_PAUSED (xid=0x0):")
	f.Fuzz(func(_ *testing.T, line string) { concernsUs(line) })
}
