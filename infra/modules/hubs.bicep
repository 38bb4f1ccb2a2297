// Event Hubs: what changed, on its way through the stages.

param token string
param location string
param tags object
param sku string
param capacity int
param maximumCapacity int
param retentionHours int
param partitions int
param zoneRedundant bool
param private bool
param principalId string
param workspaceId string

var eventHubsDataReceiver = 'a638d3c7-ab3a-418d-83e6-5f17a39d4fde'
var eventHubsDataSender = '2b629674-e913-4c01-ae53-ef4638d8f975'

// Who reads beside the functions: replays, and how old the oldest waiting event is.
var readGroup = 'flockiq-read'

var hubs = [
  { name: 'changes', partitions: partitions, appSends: true }
  { name: 'resolved', partitions: partitions, appSends: true }
  { name: 'work', partitions: partitions, appSends: true }
  { name: 'files', partitions: 2, appSends: false }
  { name: 'entities', partitions: 4, appSends: true }
  { name: 'deltas', partitions: 4, appSends: true }
]

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: 'evhns-flockiq-${token}'
  location: location
  tags: tags
  sku: { name: sku, tier: sku, capacity: capacity }
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    isAutoInflateEnabled: sku == 'Standard'
    maximumThroughputUnits: sku == 'Standard' ? max(capacity, maximumCapacity) : 0
    zoneRedundant: zoneRedundant
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
  }
}

// With the internet shut out, Event Grid is still let in: by its identity, as a trusted service.
resource networkRules 'Microsoft.EventHub/namespaces/networkRuleSets@2024-01-01' = if (private) {
  parent: namespace
  name: 'default'
  properties: {
    defaultAction: 'Deny'
    publicNetworkAccess: 'Disabled'
    trustedServiceAccessEnabled: true
  }
}

resource hub 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = [
  for each in hubs: {
    parent: namespace
    name: each.name
    properties: {
      partitionCount: each.partitions
      retentionDescription: { cleanupPolicy: 'Delete', retentionTimeInHours: retentionHours }
    }
  }
]

resource group 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01' = [
  for (each, index) in hubs: {
    parent: hub[index]
    name: readGroup
    properties: { userMetadata: 'Replays and lag; the functions read by $Default.' }
  }
]

resource receives 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(namespace.id, principalId, eventHubsDataReceiver)
  scope: namespace
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', eventHubsDataReceiver)
  }
}

// Of files the app is a reader alone: what is written there it would take for what people dropped.
resource sends 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (each, index) in hubs: if (each.appSends) {
    name: guid(namespace.id, each.name, principalId, eventHubsDataSender)
    scope: hub[index]
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', eventHubsDataSender)
    }
  }
]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: namespace
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output id string = namespace.id
output name string = namespace.name
output partitions array = [for each in hubs: { name: each.name, count: each.partitions }]
