# The pods of agents and controllers as targets of Prometheus. Agents have their node's name
# as instance, as in roles/monitoring/templates/monitoring.yml.j2.
[.items[]
 | .metadata.labels["app.kubernetes.io/component"] as $component
 | select($component == "agent" or $component == "controller")
 | (.spec.containers[].ports[]? | select(.name == "metrics").containerPort) as $port
 | {targets: ["\(.status.podIP):\($port)"],
    labels: ({namespace: .metadata.namespace, pod: .metadata.name}
             + if $component == "agent" then {instance: .spec.nodeName} else {} end)}]
