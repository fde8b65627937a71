package main

import "github.com/spf13/cobra"

// commands are the nouns and the top-level aliases.
func commands(a *app) []*cobra.Command {
	return []*cobra.Command{
		noun("job", "Run and look at jobs", "  drover job run hello.nomad.hcl\n  drover job status hello",
			newJobInit(a), newJobRun(a), newJobPlan(a), newJobStatus(a), newJobStop(a), newJobValidate(a), newJobWhy(a)),
		noun("alloc", "Look at and steer single copies", "  drover alloc status 8f3c\n  drover alloc logs -f 8f3c",
			newAllocStatus(a), newAllocLogs(a), newAllocStop(a), newAllocRestart(a)),
		noun("node", "Look at machines", "  drover node status\n  drover node eligibility --disable 8f3c",
			newNodeStatus(a), newNodeEligibility(a), newNodeLost(a)),
		noun("server", "Look at the servers", "  drover server members", newServerMembers(a)),
		newOperator(a),
		alias(newJobRun(a), "run"), alias(newStatus(a), "status"), alias(newJobStop(a), "stop"),
		alias(newAllocLogs(a), "logs"), alias(newJobPlan(a), "plan"), alias(newJobInit(a), "init"), alias(newJobValidate(a), "validate"),
	}
}

// alias is a verb at the top level.
func alias(cmd *cobra.Command, name string) *cobra.Command {
	_, rest, found := cutWord(cmd.Use)
	cmd.Use = name
	if found {
		cmd.Use += " " + rest
	}
	return cmd
}

func cutWord(s string) (first, rest string, found bool) {
	for i, r := range s {
		if r == ' ' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
