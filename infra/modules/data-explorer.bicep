// Azure Data Explorer, where there is no Fabric: the same tables, policies and mappings.

param token string
param location string
param tags object
param sku string
param databaseName string
param zoneRedundant bool
param private bool
param clientId string
param operatorId string
param operatorType string
param workspaceId string

var development = startsWith(sku, 'Dev')

resource cluster 'Microsoft.Kusto/clusters@2024-04-13' = {
  name: 'dec${token}'
  location: location
  tags: tags
  sku: { name: sku, tier: development ? 'Basic' : 'Standard', capacity: development ? 1 : 2 }
  zones: zoneRedundant && !development ? ['1', '2', '3'] : []
  identity: { type: 'SystemAssigned' }
  properties: {
    enableStreamingIngest: true
    enablePurge: true
    enableAutoStop: development
    enableDiskEncryption: true
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    restrictOutboundNetworkAccess: 'Disabled'
  }
}

resource database 'Microsoft.Kusto/clusters/databases@2024-04-13' = {
  parent: cluster
  name: databaseName
  location: location
  kind: 'ReadWrite'
  properties: { softDeletePeriod: 'P730D', hotCachePeriod: 'P31D' }
}

// Scripts run one after another: mappings and policies are those of tables that are there.
resource tables 'Microsoft.Kusto/clusters/databases/scripts@2024-04-13' = {
  parent: database
  name: 'tables'
  properties: { scriptContent: loadTextContent('../../eventhouse/tables.kql'), continueOnErrors: false }
}

resource mappings 'Microsoft.Kusto/clusters/databases/scripts@2024-04-13' = {
  parent: database
  name: 'mappings'
  properties: { scriptContent: loadTextContent('../../eventhouse/mappings.kql'), continueOnErrors: false }
  dependsOn: [tables]
}

resource policies 'Microsoft.Kusto/clusters/databases/scripts@2024-04-13' = {
  parent: database
  name: 'policies'
  properties: { scriptContent: loadTextContent('../../eventhouse/policies.kql'), continueOnErrors: false }
  dependsOn: [mappings]
}

resource ingests 'Microsoft.Kusto/clusters/databases/principalAssignments@2024-04-13' = [
  for role in ['Ingestor', 'Viewer']: {
    parent: database
    name: guid(database.id, clientId, role)
    properties: {
      principalId: clientId
      principalType: 'App'
      tenantId: tenant().tenantId
      role: role
    }
  }
]

// Erasing what is stored takes an administrator; the app is none.
resource operates 'Microsoft.Kusto/clusters/databases/principalAssignments@2024-04-13' = if (!empty(operatorId)) {
  parent: database
  name: guid(database.id, operatorId, 'Admin')
  properties: {
    principalId: operatorId
    principalType: operatorType == 'ServicePrincipal' ? 'App' : operatorType == 'Group' ? 'Group' : 'User'
    tenantId: tenant().tenantId
    role: 'Admin'
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: cluster
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output id string = cluster.id
output queryUri string = cluster.properties.uri
output ingestUri string = cluster.properties.dataIngestionUri
