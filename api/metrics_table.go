package api

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric is one row of the list of metrics: what /v1/metrics serves is registered from it, and docs/metrics.md is written from it.
type Metric struct {
	Name   string
	Kind   string   // "counter", "gauge" or "histogram"
	Unit   string   // "" for plain numbers
	Labels []string // in the order of the values
	On     string   // which agents serve it: "agent" for all of them, "server" or "client"
	Help   string   // one sentence
}

// Kinds of metrics.
const (
	KindCounter   = "counter"
	KindGauge     = "gauge"
	KindHistogram = "histogram"
)

// Roles that serve a metric.
const (
	OnAgent  = "agent"
	OnServer = "server"
	OnClient = "client"
)

// Metrics are those that the HTTP server counts. Package agent adds its own.
func Metrics() []Metric {
	route := []string{"route"}
	return []Metric{
		{"drover_http_requests_total", KindCounter, "", []string{"route", "code"}, OnAgent,
			"HTTP requests answered, by route and HTTP status; aborted where the connection broke off."},
		{"drover_http_request_seconds", KindHistogram, "seconds", route, OnAgent, "Time to answer a request; blocking reads and streams included."},
		{"drover_http_forwarded_total", KindCounter, "", route, OnAgent, "HTTP requests sent on to another agent."},
		{"drover_http_panics_total", KindCounter, "", nil, OnAgent, "Handlers that panicked; each is a fault of Drover."},
		{"drover_http_slow_readers_total", KindCounter, "", nil, OnAgent, "Readers of event streams that were cut off because they fell behind."},
		{"drover_http_watchers", KindGauge, "", nil, OnAgent, "Blocking reads that wait now."},
	}
}

// MetricNamed is a row of a list; without a name when there is none, which no registry takes.
func MetricNamed(list []Metric, name string) Metric {
	for _, m := range list {
		if m.Name == name {
			return m
		}
	}
	return Metric{}
}

// Desc describes the metric to a registry.
func (m Metric) Desc() *prometheus.Desc {
	return prometheus.NewDesc(m.Name, m.Help, slices.Clone(m.Labels), nil)
}

// Counter is a counter of the row.
func (m Metric) Counter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Labels)
}

// Histogram is a histogram of the row.
func (m Metric) Histogram(buckets ...float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: buckets}, m.Labels)
}

// GaugeFunc is a gauge of the row, read when it is asked for.
func (m Metric) GaugeFunc(read func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.Name, Help: m.Help}, read)
}
