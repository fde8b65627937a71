package api

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

func TestFilterAndReverse(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for i := range 20 {
			j := testJob(fmt.Sprintf("job-%02d", i), 1+i%3)
			j.Priority = 10 * (1 + i%4)
			j.Meta = map[string]string{"team": []string{"red", "blue"}[i%2]}
			h.must(state.RegisterJob{Job: j})
		}
		a := h.place("web", "n1")
		for _, c := range []struct {
			path, filter string
			want         int
		}{
			{"/v1/jobs", `Name == "job-03"`, 1},
			{"/v1/jobs", `Meta.team == "red"`, 10},
			{"/v1/jobs", `Meta.team == "red" and Priority == 10`, 5},
			{"/v1/jobs", `Meta["team"] == "red" or ID == "web"`, 11},
			{"/v1/jobs", `Meta.team != "red"`, 11},
			{"/v1/jobs", `not (Meta.team is empty)`, 20},
			{"/v1/jobs", `ID matches "^job-1[0-4]$"`, 5},
			{"/v1/jobs", `ID contains "-1"`, 10},
			{"/v1/jobs", `"*" in Datacenters`, 21},
			{"/v1/jobs", `Status == "running"`, 1},
			{"/v1/jobs", `any TaskGroups as g { g.Count == 3 }`, 6},
			{"/v1/jobs", `any TaskGroups as g { any g.Tasks as t { t.Driver == "exec" } }`, 21},
			{"/v1/jobs", `TaskGroups.0.Tasks.0.Config.command == "/bin/true"`, 21},
			{"/v1/jobs", `TaskGroups.7.Name == "x"`, 0},
			{"/v1/jobs", `Blocked is nil`, 21},
			{"/v1/jobs", `Blocked.Reason == "x"`, 0},
			{"/v1/jobs", `JobSummary.Summary.web.Starting == 1`, 1},
			{"/v1/nodes", `Attributes["kernel.name"] == "linux" and Drivers.exec.Healthy == true`, 1},
			{"/v1/nodes", `SchedulingEligibility == "eligible" and Status == "ready"`, 1},
			{"/v1/nodes", `Resources.MemoryMB == 4096`, 1},
			{"/v1/allocations", `JobID == "web" and ClientStatus != "running"`, 1},
			{"/v1/allocations", `NodeID == "` + a.NodeID + `" and DesiredStatus == "run"`, 1},
			{"/v1/job/web/allocations", `TaskGroup == "other"`, 0},
			{"/v1/node/n1/allocations", `TaskGroup == "web"`, 1},
		} {
			res, data := h.raw("s2:4646", "GET", c.path+"?filter="+url.QueryEscape(c.filter), nil, nil)
			var got []map[string]any
			if err := decodeLenient(data, &got); res.StatusCode != 200 || err != nil || len(got) != c.want {
				t.Errorf("%s with %s: %s, %d items, want %d: %.300s", c.path, c.filter, res.Status, len(got), c.want, data)
			}
		}
		client := h.client("c1")
		page, meta, err := client.Jobs(t.Context(), QueryOptions{Filter: `Meta.team == "blue"`, Reverse: true, PerPage: 4})
		if err != nil || len(page) != 4 || page[0].ID != "job-19" || page[3].ID != "job-13" || meta.NextToken == "" {
			t.Fatalf("first page: %v, %v, next %q", ids(page), err, meta.NextToken)
		}
		rest, _, err := All(t.Context(), client.Jobs, QueryOptions{Filter: `Meta.team == "blue"`, Reverse: true, PerPage: 4, NextToken: meta.NextToken})
		if err != nil || len(rest) != 6 || rest[0].ID != "job-11" || rest[5].ID != "job-01" {
			t.Errorf("the other pages: %v, %v", ids(rest), err)
		}
		forward, _, err := All(t.Context(), client.Jobs, QueryOptions{PerPage: 3})
		if err != nil || len(forward) != 21 || !slices.IsSorted(ids(forward)) {
			t.Errorf("all of them: %v, %v", ids(forward), err)
		}
	})
}

func ids(jobs []JobListItem) []string {
	var out []string
	for _, j := range jobs {
		out = append(out, j.ID)
	}
	return out
}

func TestFilterSaysWhereItIsWrong(t *testing.T) {
	runHerd(t, func(t *testing.T, h *herd) {
		for filter, want := range map[string]string{
			`Status = "running"`:                      `at character 8, from "= \"running\"" on`,
			`Status ==`:                               `ends too early`,
			`Statu == "running"`:                      "did you mean Status?",
			`Meta.team.x == "a"`:                      "a string has no fields",
			`TaskGroups.0.Nam == "a"`:                 "did you mean Name?",
			`Priority == "high"`:                      "cannot answer",
			`ID matches "("`:                          "is no regular expression",
			`ID matches "` + strings.Repeat("a", 300): "",
			strings.Repeat("a", maxFilter+1):          "bytes long",
			strings.Repeat("(", 60) + `ID == "a"` + strings.Repeat(")", 60):                         "nested",
			`any TaskGroups as a { any TaskGroups as b { any TaskGroups as c { c.Name == "x" } } }`: "more than 2 deep",
			`TaskGroups == "x"`: "cannot answer",
			`Nonsense is empty`: "the fields are Affinities, AllAtOnce, ",
		} {
			began := time.Now()
			res, data := h.raw("s1:4646", "GET", "/v1/jobs?filter="+url.QueryEscape(filter), nil, nil)
			if e := expectError(t, res, data, CodeInvalid); !strings.Contains(e.Error(), want) {
				t.Errorf("%.60s: %q, want %q", filter, e.Error(), want)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("%.60s: took %s", filter, took)
			}
		}
	})
}

// FuzzFilter throws expressions at the items: whatever comes is matched or refused, in bounded time.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		`Status == "running"`, `Meta.a != "b" and not (Priority in Datacenters)`, `any TaskGroups as g { g.Name matches "^w" }`,
		`all TaskGroups as i, g { i == 0 or g.Meta.x is empty }`, `"/Meta/team" == "x"`, `((((((`, `not not not ID is nil`, "`raw` in ID",
		`TaskGroups.99999999999999999999 == 1`, `Blocked.Groups.web == 1`, `Meta[""] == ""`, "\x00", `ID == "\u00e9"`,
	} {
		f.Add(seed)
	}
	j := testJob("web", 2)
	j.Meta = map[string]string{"team": "red"}
	snap := state.NewStore().Snapshot()
	f.Fuzz(func(t *testing.T, text string) {
		began := time.Now()
		fl, err := newFilter(text, reflect.TypeFor[*JobListItem](), reflect.TypeFor[*state.Job]())
		if err == nil {
			item := jobListItem(snap, j)
			_, err = fl.matches(&item, j)
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Code != CodeInvalid || e.Message == "") {
			t.Fatalf("%q: %v is no answer", text, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("%q took %s", text, took)
		}
	})
}
