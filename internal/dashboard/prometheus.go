package dashboard

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Prometheus is a Source, and knows rules.
type Prometheus struct{ api v1.API }

// NewPrometheus is the one at an address, such as http://127.0.0.1:9090.
func NewPrometheus(address string) (Prometheus, error) {
	client, err := api.NewClient(api.Config{Address: address})
	if err != nil {
		return Prometheus{}, fmt.Errorf("prometheus at %s: %w", address, err)
	}
	return Prometheus{v1.NewAPI(client)}, nil
}

// Range evaluates a query.
func (p Prometheus) Range(ctx context.Context, query string, w Window) ([]Sample, error) {
	value, _, _, err := p.api.QueryRange(ctx, query, v1.Range{Start: w.From, End: w.To, Step: w.Step})
	if err != nil {
		return nil, err
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, fmt.Errorf("the answer is a %s and no matrix", value.Type())
	}
	samples := make([]Sample, 0, len(matrix))
	for _, stream := range matrix {
		s := Sample{Labels: map[string]string{}}
		for name, value := range stream.Metric {
			s.Labels[string(name)] = string(value)
		}
		for _, pair := range stream.Values {
			s.Points = append(s.Points, Point{Time: pair.Timestamp.Time(), Value: float64(pair.Value)})
		}
		samples = append(samples, s)
	}
	return samples, nil
}

// Rules gives all rules as they are now.
func (p Prometheus) Rules(ctx context.Context) ([]Rule, error) {
	groups, err := p.api.Rules(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	var all []Rule
	for _, g := range groups.Groups {
		for _, each := range g.Rules {
			switch r := each.(type) {
			case v1.RecordingRule:
				all = append(all, Rule{Name: r.Name, Query: r.Query, Problem: r.LastError, Evaluated: r.Health == v1.RuleHealthGood})
			case v1.AlertingRule:
				rule := Rule{Name: r.Name, Query: r.Query, Problem: r.LastError, Evaluated: r.Health == v1.RuleHealthGood, State: r.State}
				for _, a := range r.Alerts {
					rule.Alerts = append(rule.Alerts, Alert{State: string(a.State), Since: a.ActiveAt, Summary: string(a.Annotations["summary"])})
				}
				all = append(all, rule)
			}
		}
	}
	return all, nil
}
