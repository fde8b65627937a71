package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts what the server does.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	hops     *prometheus.CounterVec
	panics   prometheus.Counter

	slowReaders prometheus.Counter
	prom        http.Handler
}

func newMetrics(reg *prometheus.Registry, s *Server) (*metrics, error) {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	row := func(name string) Metric { return MetricNamed(Metrics(), name) }
	m := &metrics{registry: reg, prom: promhttp.HandlerFor(reg, promhttp.HandlerOpts{})}
	m.requests = row("drover_http_requests_total").Counter()
	m.seconds = row("drover_http_request_seconds").Histogram(.001, .005, .025, .1, .5, 1, 5, 30)
	m.hops = row("drover_http_forwarded_total").Counter()
	panics, slow := row("drover_http_panics_total").Counter(), row("drover_http_slow_readers_total").Counter()
	m.panics, m.slowReaders = panics.WithLabelValues(), slow.WithLabelValues()
	watchers := row("drover_http_watchers").GaugeFunc(func() float64 { return float64(s.watchers.n.Load()) })
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.hops, panics, slow, watchers} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the API's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(rt *Route, code string, start time.Time) {
	m.requests.WithLabelValues(rt.Name, firstOf(code, "none")).Inc()
	m.seconds.WithLabelValues(rt.Name).Observe(time.Since(start).Seconds())
}

// MetricsView is the agent's metrics as JSON.
type MetricsView struct {
	Timestamp string // the agent's wall clock
	Gauges    []MetricValue
	Counters  []MetricValue
	Samples   []MetricSample
}

// MetricValue is one gauge or counter.
type MetricValue struct {
	Name   string
	Labels map[string]string `json:",omitempty"`
	Value  float64
}

// MetricSample is one histogram or summary.
type MetricSample struct {
	Name   string
	Labels map[string]string `json:",omitempty"`
	Count  uint64
	Sum    float64
}

func readMetrics(c *call) error {
	p := parser{values: c.query}
	format := p.oneOf("format", "json", "prometheus")
	if p.err != nil {
		return p.err
	}
	if format == "prometheus" {
		if c.s.b.NoPrometheus {
			return NewError(CodeUnavailable, "set telemetry { prometheus_metrics = true } and start the agent again, or read them as JSON", "this agent does not serve metrics to Prometheus")
		}
		c.s.metrics.prom.ServeHTTP(c.w, c.r)
		return nil
	}
	view, err := gather(c.s.metrics.registry)
	if err != nil {
		return err
	}
	view.Timestamp = time.Now().UTC().Format(time.RFC3339)
	return c.reply(view)
}

// gather turns what the registry has into JSON. Gauges and counters that JSON cannot hold (NaN, infinities) are left out.
func gather(reg *prometheus.Registry) (*MetricsView, error) {
	families, err := reg.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather metrics: %w", err)
	}
	v := &MetricsView{Gauges: []MetricValue{}, Counters: []MetricValue{}, Samples: []MetricSample{}}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := labelsOf(m.GetLabel())
			switch {
			case m.GetCounter() != nil:
				v.Counters = appendFinite(v.Counters, MetricValue{f.GetName(), labels, m.GetCounter().GetValue()})
			case m.GetGauge() != nil:
				v.Gauges = appendFinite(v.Gauges, MetricValue{f.GetName(), labels, m.GetGauge().GetValue()})
			case m.GetHistogram() != nil:
				h := m.GetHistogram()
				v.Samples = append(v.Samples, MetricSample{f.GetName(), labels, h.GetSampleCount(), finite(h.GetSampleSum())})
			case m.GetSummary() != nil:
				h := m.GetSummary()
				v.Samples = append(v.Samples, MetricSample{f.GetName(), labels, h.GetSampleCount(), finite(h.GetSampleSum())})
			}
		}
	}
	return v, nil
}

func appendFinite(to []MetricValue, v MetricValue) []MetricValue {
	if finite(v.Value) != v.Value {
		return to
	}
	return append(to, v)
}

// finite is v, or 0 where v is no number or without end.
func finite(v float64) float64 {
	if v-v != 0 {
		return 0
	}
	return v
}

func labelsOf[P interface {
	GetName() string
	GetValue() string
}](pairs []P) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, l := range pairs {
		out[l.GetName()] = l.GetValue()
	}
	return out
}
