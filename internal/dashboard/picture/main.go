// Command picture asks a Prometheus that scrapes a mesh what the dashboard of role monitoring
// would: it fails if a panel shows nothing or a rule cannot be evaluated, and draws the panels.
//
//	picture -quiet                                            no alert is there
//	picture -since TIME -output FILE -firing ALERT[,ALERT…]   panels have data, alerts fire
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/dashboard"
)

// options are those of the command line; times are in seconds since 1970.
type options struct {
	address, files, output string
	since, until, broken   int64
	event, firing          string
	quiet                  bool
}

func main() {
	var o options
	flag.StringVar(&o.address, "prometheus", "http://127.0.0.1:9090", "address of the Prometheus")
	flag.StringVar(&o.files, "files", "roles/monitoring/files", "folder of dashboard.json")
	flag.StringVar(&o.output, "output", "", "SVG to write; without one panels are not looked at")
	flag.Int64Var(&o.since, "since", 0, "first second of the picture, in Unix time")
	flag.Int64Var(&o.until, "until", time.Now().Unix(), "last second of the picture, in Unix time")
	flag.Int64Var(&o.broken, "event-since", 0, "from when on the picture is shaded, in Unix time")
	flag.StringVar(&o.event, "event", "", "what happened then")
	flag.StringVar(&o.firing, "firing", "", "alerts that must fire, by commas")
	flag.BoolVar(&o.quiet, "quiet", false, "no alert may be there")
	flag.Parse()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	prometheus, err := dashboard.NewPrometheus(o.address)
	if err != nil {
		return err
	}
	rules, err := prometheus.Rules(ctx)
	if err != nil {
		return err
	}
	if err := dashboard.WriteRules(os.Stdout, rules, time.Now()); err != nil {
		return err
	}
	var must []string
	if o.firing != "" {
		must = strings.Split(o.firing, ",")
	}
	problems := dashboard.Judge(rules, must, o.quiet)
	if o.output != "" {
		problems = errors.Join(problems, draw(ctx, prometheus, o))
	}
	return problems
}

// draw writes the picture even where data is missing, so that it can be looked at.
func draw(ctx context.Context, prometheus dashboard.Prometheus, o options) error {
	text, err := os.ReadFile(filepath.Join(o.files, "dashboard.json"))
	if err != nil {
		return err
	}
	d, err := dashboard.Read(text)
	if err != nil {
		return err
	}
	w := dashboard.Window{From: time.Unix(o.since, 0), To: time.Unix(o.until, 0), Step: 10 * time.Second}
	answers, err := dashboard.Ask(ctx, prometheus, d, w)
	if err != nil {
		return err
	}
	fmt.Println()
	if err := dashboard.WriteAnswers(os.Stdout, answers); err != nil {
		return err
	}
	p := dashboard.Picture{Title: d.Title, Window: w, Answers: answers}
	if o.event != "" {
		p.Events = append(p.Events, dashboard.Event{Text: o.event, From: time.Unix(o.broken, 0), To: w.To})
	}
	file, err := os.Create(o.output)
	if err != nil {
		return err
	}
	return errors.Join(p.WriteSVG(file), file.Close(), dashboard.Missing(answers, w))
}
