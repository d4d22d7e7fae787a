// Package dashboard reads the Grafana dashboard that role monitoring ships, has a Prometheus
// answer its queries, says which of them nothing answers, and draws the answers in the
// dashboard's own grid as SVG. It tells which rules fire, too.
//
// It is no Grafana: it knows the kinds of panels, units and options that this dashboard has,
// and refuses a dashboard that has others. It starts no Prometheus and makes no mesh.
package dashboard
