module bareme/control-plane/metrics

go 1.22
